"""Which environment variables a user may give to an engine.

An engine's environment decides which code it loads, where its requests go and which devices it
sees; those are the worker's business. Backends allow only what they know; this is the second wall,
for every backend alike.
"""

import re
from collections.abc import Iterable

from aimindserve.core.reason import Reason

NAMES_MAX = 200
VALUE_MAX = 32 * 1024
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_DENIED = """
PATH HOME USER LOGNAME SHELL IFS ENV BASH_ENV TMPDIR TMP TEMP PWD OLDPWD
GCONV_PATH GLIBC_TUNABLES NLSPATH LOCPATH HOSTALIASES RESOLV_HOST_CONF
NODE_OPTIONS NODE_PATH JAVA_TOOL_OPTIONS CLASSPATH GEM_PATH
CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES
HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ASCEND_VISIBLE_DEVICES
ASCEND_RT_VISIBLE_DEVICES MUSA_VISIBLE_DEVICES MLU_VISIBLE_DEVICES MACA_VISIBLE_DEVICES
SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSLKEYLOGFILE OPENSSL_CONF
OPENSSL_ENGINES OPENSSL_MODULES
"""
_DENIED_NAMES = frozenset(_DENIED.split())
_DENIED_PREFIXES = (
    "LD_",
    "DYLD_",
    "PYTHON",
    "AIMS_",
    "XDG_",
    "GPUSTACK_",
    "MALLOC_",
    "PERL",
    "RUBY",
    "GIT_",
)


def refuse(backend: str, pairs: Iterable[tuple[str, str]]) -> Reason | None:
    """Why these variables may not be given to an engine, or None when they may."""
    for count, (name, value) in enumerate(pairs, start=1):
        detail = _refused(name, value)
        if count > NAMES_MAX:
            detail = f"there are more than {NAMES_MAX} variables"
        if detail:
            return Reason("bad_param", {"backend": backend, "param": name[:128], "detail": detail})
    return None


def _refused(name: str, value: str) -> str:
    if not _NAME.match(name):
        return "an environment variable is named with letters, digits and underscores"
    upper = name.upper()
    if upper in _DENIED_NAMES or upper.startswith(_DENIED_PREFIXES) or upper.endswith("_PROXY"):
        return "the worker sets this environment variable itself"
    if "\0" in value or len(value) > VALUE_MAX:
        return f"its value is over {VALUE_MAX} bytes or holds a zero byte"
    return ""
