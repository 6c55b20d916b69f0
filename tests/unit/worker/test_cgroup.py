import pytest

from aimindserve.worker.cgroup import Limits, limits

ROOT = "/sys/fs/cgroup"
V2 = {"/proc/self/cgroup": "0::/a.slice/b.scope\n", f"{ROOT}/cgroup.controllers": "cpu memory\n"}
V1 = {"/proc/self/cgroup": "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/docker/x\n"}


def of(*groups):
    files = {name: text for group in groups for name, text in group.items()}
    return limits(files.get)


def test_a_machine_without_control_groups_has_no_limits():
    assert of() == Limits()
    assert of(V2) == Limits()
    assert of(V1) == Limits()


def test_the_tightest_of_all_groups_above_counts():
    found = of(
        V2,
        {
            f"{ROOT}/a.slice/b.scope/memory.max": "max\n",
            f"{ROOT}/a.slice/memory.max": "4000\n",
            f"{ROOT}/a.slice/memory.current": "3000\n",
            f"{ROOT}/a.slice/memory.stat": "anon 5\ninactive_file 1000\n",
            f"{ROOT}/memory.max": "9000\n",
            f"{ROOT}/a.slice/b.scope/cpu.max": "150000 100000\n",
            f"{ROOT}/a.slice/cpu.max": "max 100000\n",
        },
    )
    assert found == Limits(4000, 2000, 1.5)


def test_inside_a_container_the_root_is_the_containers_own_group():
    """Without a cgroup namespace the path names the host's group, which is not mounted here."""
    found = of(V2, {f"{ROOT}/memory.max": "5000\n", f"{ROOT}/cpu.max": "200000 100000\n"})
    assert found == Limits(5000, None, 2.0)


def test_the_older_layout():
    found = of(
        V1,
        {
            f"{ROOT}/memory/memory.limit_in_bytes": "7000\n",
            f"{ROOT}/memory/memory.usage_in_bytes": "500\n",
            f"{ROOT}/memory/memory.stat": "total_inactive_file 100\n",
            f"{ROOT}/cpu/docker/x/cpu.cfs_quota_us": "50000\n",
            f"{ROOT}/cpu/docker/x/cpu.cfs_period_us": "100000\n",
        },
    )
    assert found == Limits(7000, 400, 0.5)


@pytest.mark.parametrize("text", ["9223372036854771712\n", "-1\n", "", "nonsense\n"])
def test_what_means_no_limit(text):
    assert of(V1, {f"{ROOT}/memory/memory.limit_in_bytes": text}) == Limits()
