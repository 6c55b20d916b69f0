"""MindIE Service's configuration file and environment, from parameters: pure translation.

The keys are those of MindIE 2.0's `conf/config.json` (hiascend.com, MindIE Service, configuration
reference); what is not set here keeps MindIE's default.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ASYNCHRONOUS_FROM = 50
"""Batches up to this size are faster without asynchronous scheduling (MindIE's tuning guide)."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What the worker decides."""

    model_name: str
    model_path: str
    port: int
    devices: Sequence[int]
    """Ids by which the process sees its devices."""
    context: int
    cuts: Mapping[str, int]
    """tp, pp, dp, sp, moe_tp, moe_ep as far as they are set."""


def configuration(serving: Serving, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The whole of `config.json`. It listens on loopback without TLS: the worker's proxy stands
    before it."""
    return {
        "Version": "1.0.0",
        "ServerConfig": {
            "ipAddress": "127.0.0.1",
            "managementIpAddress": "127.0.0.1",
            "port": serving.port,
            "managementPort": serving.port,
            "metricsPort": serving.port,
            "allowAllZeroIpListening": False,
            "maxLinkNum": fields.get("max-link-num", 1000),
            "httpsEnabled": False,
            "fullTextEnabled": False,
            "interCommTLSEnabled": False,
            "inferMode": "standard",
            "openAiSupport": "vllm",
            "tokenTimeout": fields.get("token-timeout", 600),
            "e2eTimeout": fields.get("e2e-timeout", 600),
        },
        "BackendConfig": {
            "backendName": "mindieservice_llm_engine",
            "modelInstanceNumber": 1,
            "npuDeviceIds": [list(serving.devices)],
            "tokenizerProcessNumber": 8,
            "multiNodesInferEnabled": False,
            "interNodeTLSEnabled": False,
            "ModelDeployConfig": _deploy(serving, fields),
            "ScheduleConfig": _schedule(serving, fields),
        },
    }


def environment(program: str, config_path: str, fields: Mapping[str, Any]) -> dict[str, str]:
    """The variables that MindIE and the libraries below it read."""
    eager = bool(fields.get("enforce-eager"))
    batch = int(fields.get("max-batch-size", 200))
    asynchronous = not eager and batch > ASYNCHRONOUS_FROM
    env = {
        "MIES_INSTALL_PATH": program,
        "MIES_CONFIG_JSON_PATH": config_path,
        "MIES_SERVICE_MONITOR_MODE": "0" if fields.get("metrics") is False else "1",
        "MIES_RECOMPUTE_THRESHOLD": "0.5",
        "MINDIE_LLM_RECOMPUTE_THRESHOLD": "0.5",
        "MIES_USE_MB_SWAPPER": "1" if _swap_gib(fields) else "0",
        "MINDIE_LLM_CONTINUOUS_BATCHING": "1",
        "MINDIE_LLM_FRAMEWORK_BACKEND": "ATB",
        "MINDIE_CHECK_INPUTFILES_PERMISSION": "0",
        "MINDIE_LOG_LEVEL": str(fields.get("log-level", "Info")).upper(),
        "MINDIE_LOG_TO_STDOUT": "1",
        "MINDIE_LOG_TO_FILE": "0",
        "MINDIE_ASYNC_SCHEDULING_ENABLE": "1" if asynchronous else "0",
        "NPU_MEMORY_FRACTION": f"{float(fields.get('npu-memory-fraction', 0.9)):g}",
        "OMP_NUM_THREADS": "1",
        "TASK_QUEUE_ENABLE": "0" if eager else "2",
        "ATB_OPERATION_EXECUTE_ASYNC": "0" if eager else "1",
        "ATB_LAYER_INTERNAL_TENSOR_REUSE": "1",
        "ATB_WORKSPACE_MEM_ALLOC_ALG_TYPE": "3",
        "ATB_WORKSPACE_MEM_ALLOC_GLOBAL": "1",
        "ATB_CONVERT_NCHW_TO_ND": "1",
        "ATB_LLM_ENABLE_AUTO_TRANSPOSE": "0",
        "INF_NAN_MODE_ENABLE": "0",
        "PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True",
    }
    return {**env, "ASCEND_LAUNCH_BLOCKING": "1"} if eager else env


def changes(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What must be merged into files of the model: file name -> JSON."""
    config: dict[str, Any] = {}
    if fields.get("dtype", "auto") != "auto":
        config["torch_dtype"] = fields["dtype"]
    if "rope-scaling" in fields:
        config["rope_scaling"] = fields["rope-scaling"]
    if "rope-theta" in fields:
        config["rope_theta"] = fields["rope-theta"]
    generation = fields.get("override-generation-config", {})
    files = {"config.json": config, "generation_config.json": generation}
    return {name: change for name, change in files.items() if change}


def _deploy(serving: Serving, fields: Mapping[str, Any]) -> dict[str, Any]:
    context = serving.context
    model: dict[str, Any] = {
        "modelInstanceType": "Standard",
        "modelName": serving.model_name,
        "modelWeightPath": serving.model_path,
        "worldSize": len(serving.devices),
        "cpuMemSize": _swap_gib(fields),
        "npuMemSize": -1,
        "backendType": "atb",
        "trustRemoteCode": False,
        **serving.cuts,
    }
    deploy: dict[str, Any] = {
        "maxSeqLen": context,
        "maxInputTokenLen": min(int(fields.get("max-input-token-len", context)), context),
        "truncation": fields.get("truncation") is True,
        "ModelConfig": [model],
    }
    plugin = _plugin(fields)
    if plugin:
        model["plugin_params"] = json.dumps(plugin)
    gamma = _gamma(fields)
    if gamma:
        deploy["speculationGamma"] = gamma
    return deploy


def _schedule(serving: Serving, fields: Mapping[str, Any]) -> dict[str, Any]:
    batch = int(fields.get("max-batch-size", 200))
    schedule: dict[str, Any] = {
        "templateType": "Standard",
        "templateName": "Standard_LLM",
        "cacheBlockSize": fields.get("cache-block-size", 128),
        "maxPrefillBatchSize": min(int(fields.get("max-prefill-batch-size", 50)), batch),
        "maxPrefillTokens": serving.context,
        "prefillTimeMsPerReq": fields.get("prefill-time-ms-per-req", 150),
        "prefillPolicyType": fields.get("prefill-policy-type", 0),
        "decodeTimeMsPerReq": fields.get("decode-time-ms-per-req", 50),
        "decodePolicyType": fields.get("decode-policy-type", 0),
        "maxBatchSize": batch,
        "maxIterTimes": serving.context,
        "maxPreemptCount": fields.get("max-preempt-count", 0),
        "supportSelectBatch": fields.get("support-select-batch") is True,
        "maxQueueDelayMicroseconds": fields.get("max-queue-delay-microseconds", 5000),
    }
    if fields.get("enable-prefix-caching"):
        schedule["enablePrefixCache"] = True
    if fields.get("enable-split"):
        schedule |= {
            "enableSplit": True,
            "templateType": "Mix",
            "policyType": fields.get("policy-type", 0),
            "splitType": False,
            "splitStartType": False,
            "splitChunkTokens": fields.get("split-chunk-tokens", 512),
            "splitStartBatchSize": fields.get("split-start-batch-size", 16),
        }
    if fields.get("enable-buffer-response"):
        schedule |= {
            "bufferResponseEnabled": True,
            "prefillExpectedTime": fields["prefill-expected-time-ms"],
            "decodeExpectedTime": fields["decode-expected-time-ms"],
        }
    return schedule


def _plugin(fields: Mapping[str, Any]) -> dict[str, Any]:
    """MindIE runs one plugin at a time; the parameters exclude each other already."""
    if fields.get("enable-split"):
        return {"plugin_type": "splitfuse"}
    if fields.get("enable-memory-decoding"):
        return {
            "plugin_type": "memory_decoding",
            "decoding_length": fields.get("memory-decoding-length", 16),
            "dynamic_algo": fields.get("memory-decoding-dynamic-algo") is True,
        }
    if fields.get("enable-lookahead"):
        return {
            "plugin_type": "la",
            "level": fields.get("lookahead-level", 4),
            "window": fields.get("lookahead-window", 5),
            "guess_set_size": fields.get("lookahead-guess-set-size", 5),
        }
    if fields.get("enable-multi-token-prediction"):
        tokens = fields.get("multi-token-prediction-tokens", 1)
        return {"plugin_type": "mtp", "num_speculative_tokens": tokens}
    return {"plugin_type": "prefix_cache"} if fields.get("enable-prefix-caching") else {}


def _gamma(fields: Mapping[str, Any]) -> int:
    if fields.get("enable-memory-decoding"):
        return int(fields.get("memory-decoding-length", 16))
    if fields.get("enable-lookahead"):
        level = int(fields.get("lookahead-level", 4))
        window = int(fields.get("lookahead-window", 5))
        return (level - 1) * (window + int(fields.get("lookahead-guess-set-size", 5)))
    return 0


def _swap_gib(fields: Mapping[str, Any]) -> int:
    """Swap space is of use only where requests may be preempted."""
    return int(fields.get("cpu-mem-size", 0)) if fields.get("max-preempt-count") else 0
