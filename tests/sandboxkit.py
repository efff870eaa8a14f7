"""What is tried within the sandbox of a unit, by a unit that is the same but for what it runs."""

from tests.boxkit import PYTHON

# What nobody may do in the sandbox of the system's daemon; of the last ones, nobody in that of a user's own.
OF_ROOT = (
    "open('/etc/x', 'w')",
    "open('/usr/x', 'w')",
    "open('/opt/inboxd/x', 'w')",
    "open('/var/lib/x', 'w')",
    "os.listdir('/root')",
    "os.mkdir('/x')",
    "os.mknod('/var/lib/inboxd/null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))",
    "os.setuid(0)",
    "os.chroot('/')",
    "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
)
OF_ANYBODY = (
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
    "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
    "os.open('/tmp/suid', os.O_CREAT | os.O_EXCL, 0o4755)",
    "called('unshare', 0x10000000)",
    "called('personality', 8)",
)


def attempts(writable: str, *statements: str) -> str:
    """Return a program that tries each of these, and says what it did; one file it may write."""
    tried = "\n".join(
        f"try: {attempt}; print('DID', {attempt!r})\nexcept (OSError, ValueError): pass" for attempt in statements
    )
    called = "def called(name, flag):\n if getattr(ctypes.CDLL(None), name)(flag) == -1: raise OSError\n"
    allowed = f"open('{writable}', 'w'); print('can write state')"
    return f"import ctypes, mmap, os, socket, stat\n{called}{tried}\n{allowed}\n"


def instead(unit: str, script: str, output: str) -> str:
    """Return a unit that runs a script, and nothing else, in the sandbox that `unit` has."""
    own = ("ExecStart=", "ExecReload=", "Restart=", "WatchdogSec=", "WorkingDirectory=")
    lines = [line for line in unit.replace("Type=notify", "Type=oneshot").splitlines() if not line.startswith(own)]
    at = lines.index("[Service]") + 1
    # With the libpython that belongs to this interpreter.
    environment = f"Environment=LD_LIBRARY_PATH={PYTHON}/lib"
    lines[at:at] = [f"ExecStart={PYTHON}/bin/python3 {script}", environment, f"StandardOutput={output}"]
    return "\n".join(lines)
