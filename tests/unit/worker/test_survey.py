from dataclasses import replace

from aimindserve.core.device import FileSystem
from aimindserve.worker.simulated import EXAMPLE_MACHINE
from aimindserve.worker.survey import settled

GIB = 1024**3
DISK = FileSystem("/", "/dev/vda", "ext4", 1000 * GIB, 500 * GIB)
BEFORE = replace(EXAMPLE_MACHINE, file_systems=(DISK,), boot_time=1000.0)


def with_free(free_bytes):
    return replace(BEFORE, file_systems=(replace(DISK, available_bytes=free_bytes),))


def test_the_first_inventory_is_taken():
    assert settled(None, BEFORE) is BEFORE


def test_a_little_less_space_is_the_same_inventory():
    assert settled(BEFORE, with_free(490 * GIB)) is BEFORE


def test_much_less_space_is_news():
    fresh = with_free(400 * GIB)
    assert settled(BEFORE, fresh) == fresh


def test_a_clock_that_is_corrected_is_no_reboot():
    assert settled(BEFORE, replace(BEFORE, boot_time=1005.0)) is BEFORE
    assert settled(BEFORE, replace(BEFORE, boot_time=9000.0)).boot_time == 9000.0


def test_another_disk_or_processor_is_news():
    fresh = replace(BEFORE, file_systems=(DISK, replace(DISK, mount_point="/data")))
    assert settled(BEFORE, fresh) == fresh
    assert settled(BEFORE, replace(BEFORE, cpu_count=1)).cpu_count == 1
