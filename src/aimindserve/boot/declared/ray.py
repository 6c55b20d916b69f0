"""Settings of Ray, which spans one vLLM instance over several workers."""

from dataclasses import dataclass

from aimindserve.boot.declared._setting import Form, Setting, Stage


def _port(english: str, chinese: str, port: int) -> int:
    setting = Setting(Form.PORT, english, chinese, stage=Stage.LATER)
    field: int = setting.field(port)
    return field


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """Ray's switch, arguments and ports."""

    enable_ray: bool = Setting(
        Form.SWITCH,
        "Run vLLM over several workers by Ray; on Linux only.",
        "通过 Ray 跨多个工作节点运行 vLLM;仅支持 Linux。",
        stage=Stage.LATER_WARNS,
    ).field(default=False)
    ray_args: tuple[str, ...] = Setting(
        Form.WORDS,
        "Arguments for `ray start`; write `--ray-args=--verbose`, as often as needed.",
        "传给 `ray start` 的参数;写作 `--ray-args=--verbose`,可多次使用。",
        stage=Stage.LATER_WARNS,
        example='["--port=6379", "--verbose"]',
    ).field(())
    ray_port: int = _port("Ray's global control service.", "Ray 全局控制服务(GCS)端口。", 40096)
    ray_client_server_port: int = _port("Ray's client server.", "Ray 客户端服务器端口。", 40097)
    ray_node_manager_port: int = _port("Ray's node manager.", "Ray 节点管理器端口。", 40098)
    ray_object_manager_port: int = _port("Ray's object manager.", "Ray 对象管理器端口。", 40099)
    ray_runtime_env_agent_port: int = _port(
        "Ray's runtime environment agent.", "Ray 运行环境代理端口。", 40100
    )
    ray_dashboard_agent_grpc_port: int = _port(
        "gRPC of Ray's dashboard agent.", "Ray 仪表板代理的 gRPC 端口。", 40101
    )
    ray_dashboard_agent_listen_port: int = _port(
        "HTTP of Ray's dashboard agent.", "Ray 仪表板代理的 HTTP 端口。", 52365
    )
    ray_metrics_export_port: int = _port("Ray's metrics.", "Ray 指标导出端口。", 40103)
    ray_dashboard_port: int = _port("Ray's dashboard.", "Ray 仪表板端口。", 8265)
    ray_worker_port_range: tuple[int, int] = Setting(
        Form.PORT_RANGE,
        "Ports of Ray's worker processes, both ends included.",
        "Ray 工作进程使用的端口范围,含两端。",
        stage=Stage.LATER,
    ).field((40200, 40999))
