"""What vLLM is said to need for the golden models, for tests and the reference page.

To write `needs.txt` and the pages `reference/memory.md` anew after a wanted change:
`PYTHONPATH=src:tests python -m golden.vllm.pricing`.
"""

import json
from pathlib import Path

from aimindserve.backends._vllm_shapes import parallel_obstacle
from aimindserve.core.facts import Category
from aimindserve.formats import vllm_memory as memory
from aimindserve.formats.vllm_kv_cache import token_bytes
from aimindserve.formats.vllm_memory import GIB, Settings
from golden.models.reading import SLUGS, facts

HERE = Path(__file__).parent
NEEDS = HERE / "needs.txt"
PAGE = HERE.parents[2] / "docs/reference/memory.md"
PAGE_ZH = HERE.parents[2] / "docs/zh/reference/memory.md"
PUBLISHED = json.loads((HERE / "published.json").read_text(encoding="utf-8"))
CUTS = ((1, 8192), (1, 32768), (4, 8192), (8, 8192))
"""(tensor parallel, context) of the table of needs."""
SERVED = [slug for slug in SLUGS if Category.SPEECH_TO_TEXT not in facts(slug).categories]
PARTS = ("weights", "kv_cache", "compute", "runtime", "projector")


def predicted(entry):
    """GiB, or tokens, that we say for a published figure."""
    model = facts(entry["model"])
    settings = Settings(
        context=8192,
        tensor_parallel=entry["tensor_parallel"],
        batched_tokens=entry.get("batched_tokens", 2048),
        sequences=entry.get("sequences", 256),
    )
    if entry["what"] == "weights":
        return memory.rank_weights(model, settings) / GIB
    if entry["what"] == "activations":
        return memory.activation_peak(model, settings) / GIB
    if entry["what"] == "graphs":
        graphs = memory.runtime_bytes(model, settings, range(model.layer_count))
        return (graphs - memory.LIBRARY_BYTES) / GIB
    return entry["gib"] * GIB / token_bytes(model, settings.pool)


def truth(entry):
    return entry["tokens"] if entry["what"] == "tokens" else entry["gib"]


def needs():
    """One line per model and cut: bytes by part of the first rank, MiB."""
    lines = [f"{'model':34} tp context " + " ".join(f"{part:>9}" for part in PARTS) + "     total"]
    for slug in SERVED:
        model = facts(slug)
        for ranks, context in CUTS:
            if parallel_obstacle(model, ranks) or context > (model.context_length or context):
                continue
            need = memory.stage_need(model, Settings(context, ranks), 0)
            sizes = [getattr(need, part) for part in PARTS] + [need.total]
            row = " ".join(f"{size // 1024**2:9}" for size in sizes)
            lines.append(f"{slug:34} {ranks:2} {context:7} {row}")
    return "\n".join(lines) + "\n"


def rows():
    """The lines of the reference page's table."""
    told = []
    for entry in PUBLISHED:
        ours, theirs = predicted(entry), truth(entry)
        digits = 0 if entry["what"] == "tokens" else 2
        told.append(
            f"| {entry['model']} | {entry['tensor_parallel']} | {entry['what']} "
            f"| {ours:,.{digits}f} | {theirs:,.{digits}f} | {100 * (ours / theirs - 1):+.1f} % "
            f"| {entry['source']}, vLLM {entry['version']} |"
        )
    return "\n".join(told)


def page():
    """The reference page."""
    return f"""# Memory: predicted against published

Made by `PYTHONPATH=src:tests python -m golden.vllm.pricing`; held by `tests/golden/vllm`. How the
numbers come about is told in [memory](../memory.md).

## vLLM

One rank. Weights, activations (the peak of the batch that vLLM runs to profile itself) and graphs
in GiB; tokens are those that fit into the published cache memory. Published figures are lines of
logs in vLLM's issues. The model's tensors are taken from its `config.json`, as before anything was
fetched; where the files are at hand their headers are counted instead.

| model | tensor parallel | what | predicted | published | error | source |
|---|---:|---|---:|---:|---:|---|
{rows()}

What is below a published weight is less than 1.1 % of it, or 0.2 GiB: what PyTorch's allocator
rounds up while loading. It is covered by the {memory.LIBRARY_BYTES // 1024**2} MiB that every
device is charged for libraries.
"""


def page_zh():
    """The same in 简体中文."""
    return f"""# 显存：预测值与公开数据

本页由 `PYTHONPATH=src:tests python -m golden.vllm.pricing` 生成，由 `tests/golden/vllm` 保证。
数值的来历见[内存](../memory.md)。

## vLLM

按一个进程（rank）计。权重、激活（vLLM 自我剖析时所运行批次的峰值）和计算图以 GiB 计；词元数是公
开的缓存显存中能容纳的数量。公开数据取自 vLLM 问题单中的日志行。模型的张量取自其 `config.json`，
如同尚未下载任何文件时；手头有文件时，则改为统计其文件头。

| 模型 | 张量并行 | 项目 | 预测 | 公开 | 误差 | 来源 |
|---|---:|---|---:|---:|---:|---|
{rows()}

低于公开权重的部分不超过其 1.1 %，或 0.2 GiB：这是 PyTorch 的分配器在加载时取整所致。每个设备为
程序库计入的{memory.LIBRARY_BYTES // 1024**2} MiB 已将其覆盖。
"""


def main():
    NEEDS.write_text(needs(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    PAGE_ZH.write_text(page_zh(), encoding="utf-8")


if __name__ == "__main__":
    main()
