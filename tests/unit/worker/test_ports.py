from aimindserve.worker.ports import listening_users

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1
   1: 00000000:9C41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:9C42 0100007F:1234 01 00000000:00000000 00:00000000 00000000  1000        0 3 1
   3: torn
"""


def test_who_listens_on_a_port():
    assert listening_users(TABLE, 40000) == {1000}
    assert listening_users(TABLE, 40001) == {0}
    assert listening_users(TABLE, 40002) == frozenset()
    assert listening_users(TABLE, 40003) == frozenset()
    assert listening_users("", 40000) == frozenset()
