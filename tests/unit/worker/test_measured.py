"""What of a machine's memory is ours, and what engines say of themselves."""

from aimindserve.core.device import EMPTY_USAGE, DeviceUsage, EngineUsage
from aimindserve.worker.measured import PROCESSES_TOLD_MAX, Engine, joined
from aimindserve.worker.own_words import reported

CARD, OTHER = "w:cuda:0", "w:cuda:1"


def engine(name="p", *, pids=(7, 8), **fields):
    return Engine(EngineUsage(f"i-{name}", name, **fields), frozenset(pids))


def usage(*processes, other=None):
    cards = (DeviceUsage(CARD, 100, processes=processes), DeviceUsage(OTHER, 50, processes=other))
    return EMPTY_USAGE.__class__(0.0, 0, 0, 0, 0, cards)


def test_an_engine_holds_what_all_its_processes_hold():
    now = [engine(ram_bytes=5, ready=True)]
    found = joined(usage((7, 30), (8, 20), (99, 50)), now, now)
    assert found.engines[0].devices == ((CARD, 50),)
    assert found.engines[0].ram_bytes == 5
    assert found.engines[0].ready


def test_a_driver_that_does_not_tell_of_a_process_proves_nothing():
    now = [engine()]
    assert joined(usage((99, 50)), now, now).engines[0].devices == ()


def test_what_begins_meanwhile_is_listed_and_what_it_took_meanwhile_is_not():
    found = joined(usage(), [], [engine(ram_bytes=5, ready=True)])
    assert [(each.ram_bytes, each.ready) for each in found.engines] == [(0, False)]


def test_what_has_ended_meanwhile_is_gone():
    assert joined(usage(), [engine()], []).engines == ()


def test_reports_stay_short():
    many = [(pid, 1) for pid in range(1000)]
    now = [engine(pids=range(900, 1000))]
    found = joined(usage(*many), now, now)
    assert len(found.devices[0].processes) == PROCESSES_TOLD_MAX
    assert found.devices[1].processes is None
    assert found.engines[0].devices == ((CARD, 100),)


def test_llama_cpp_says_what_it_allocates_where():
    lines = [
        "load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
        "load_tensors:        CUDA0 model buffer size = 48928.00 MiB",
        "llama_kv_cache:      CUDA0 KV buffer size =   256.00 MiB",
        "llama_kv_cache:      CUDA1 KV buffer size =   128.00 MiB",
        "llama_context:  CUDA_Host  output buffer size =     0.50 MiB",
        "sched_reserve:      CUDA0 compute buffer size =    64.00 MiB",
        "nothing of the kind",
    ]
    mib = 1024**2
    assert reported(lines) == (
        ("0", (48928 + 256 + 64) * mib),
        ("1", 128 * mib),
        ("cpu", 100 * mib + mib // 2),
    )


def test_vllm_says_what_it_takes_by_rank():
    lines = [
        "(Worker_TP1 pid=9) INFO 11-20 [gpu_model_runner.py:3] Model loading took 7.5 GiB and 9 s",
        "(Worker_TP1 pid=9) INFO 11-20 [gpu_worker.py:298] Available KV cache memory: 2.5 GiB",
        "(EngineCore pid=8) INFO 11-20 [gpu_model_runner.py:3] Model loading took 1.0 GiB and 9 s",
    ]
    assert reported(lines) == (("0", 1024**3), ("1", 10 * 1024**3))


def test_an_engine_that_says_nothing_is_left_to_others_to_measure():
    assert reported(["hello"]) == ()
