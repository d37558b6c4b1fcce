"""Runs tagout with a terminal of its own as a shell would: what is typed arrives, keys make signals, and the terminal comes back."""
import os, pty, select, signal, sys, time

def run(command, typed):
    pid, master = pty.fork()
    if pid == 0:
        # A shell without job control: the command runs in its group, and afterwards it must own the terminal again.
        child = os.fork()
        if child == 0:
            os.execv(command[0], command)
        status = os.waitpid(child, 0)[1]
        own = os.tcgetpgrp(0) == os.getpgrp()
        os.write(1, b"\nback %d code %d\n" % (own, os.waitstatus_to_exitcode(status)))
        os._exit(0)
    seen, until = b"", time.time() + 60
    while time.time() < until:
        if typed and typed[0][0] in seen:
            os.write(master, typed.pop(0)[1])
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    else:
        os.kill(pid, signal.SIGKILL)
        seen += b"\nHUNG\n"
    os.waitpid(pid, 0)
    return seen.decode(errors="replace")

tagout = sys.argv[1:]
print(run(tagout + ["sh", "-c", "echo ready; read word; echo got-$word; exit 3"], [(b"ready", b"hello\n")]))
# Not a shell: dash itself loses an interrupt that arrives while it starts a program.
print(run(tagout + [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(50); print('went-on')"], [(b"ready", b"\x03")]))
print(run(tagout + ["sh", "-c", "echo ready; read a; echo again-$a; read b; echo got-$b"],
          [(b"ready", b"one\n"), (b"again-one", b"\x1a"), (b"^Z", b"two\n")]))
print(run(tagout + [sys.executable, "-c",
    "import pty,os; print('spawned', pty.spawn(['sh','-c','test -t 0 && test -t 1 && echo inner-terminal']))"], []))
