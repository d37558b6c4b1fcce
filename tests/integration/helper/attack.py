"""Speaks to the root helper as its caller, without the launcher. Arguments: a case, the file of a stand, folders to show.
Prints the helper's answer as a line of JSON after whatever the run itself printed."""
import json, os, socket, subprocess, sys

case, stand, helper, version = sys.argv[1:5]
folders = sys.argv[5:]
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
stage, stage_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
init, init_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
trees = [os.open("/usr", os.O_PATH)]
shown = ["system"]
for folder in folders:
    flags = os.O_PATH | (os.O_NOFOLLOW if case == "symlink" else 0)
    trees.append(os.open(folder, flags))
    shown.append("writable")
if case == "swap":
    os.rename(folders[0], folders[0] + ".moved")
    os.symlink(folders[1], folders[0])
request = {
    "build": version,
    "memory_bytes": 1 << 32,
    "processes": 100,
    "door": False,
    "trees": shown,
}
fixed = [stage_side.fileno(), init_side.fileno(), os.open("/dev/null", 0), 1, 2, os.open(stand, 0)]
data = None
if case == "long":
    request["build"] = "x" * 9000
elif case == "malformed":
    data = b"{"
elif case == "uid":
    request["uid"] = 0
elif case == "build":
    request["build"] = "0.0.0"
elif case == "few":
    trees.pop()
elif case == "many":
    trees.append(os.open("/", os.O_PATH))
elif case == "path":
    request["trees"] = ["/etc/shadow"]
elif case == "device":
    trees[1] = os.open("/dev/null", os.O_PATH)
elif case == "pipe":
    trees[1] = os.pipe()[0]
environment = dict(os.environ)
if case == "environment":
    environment.update(
        {"SUDO_UID": "0", "SUDO_GID": "0", "PATH": os.getcwd(), "LD_PRELOAD": os.path.join(os.getcwd(), "evil.so")}
    )
stdin = there
if case == "foreign":
    # A socket whose other end root made.
    stdin = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stdin.connect(folders[0])
words = ["/usr/bin/sudo", "-n", helper, "__helper"]
child = subprocess.Popen(words, stdin=stdin, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
if case != "silent":
    data = data if data is not None else json.dumps(request).encode()
    socket.send_fds(here, [data], fixed + trees)
else:
    here.close()
there.close()
stage_side.close()
init_side.close()
errors = child.communicate()[1].decode()
if case in ("foreign", "silent"):
    print(json.dumps({"fault": errors, "limit": None}))
else:
    here.settimeout(20)
    try:
        answer = here.recv(8192)
    except ConnectionResetError:  # it ended without reading the request; the answer comes after this
        answer = here.recv(8192)
    answer = json.loads(answer or b"{}")
    # The processes inside tell the launcher's channel why nothing was started.
    stage.settimeout(1)
    init.settimeout(1)
    for channel in (stage, init):
        while True:
            try:
                said = channel.recv(8192)
            except TimeoutError:
                break
            if not said:
                break
            print("said", said.decode())
    print(json.dumps(answer))
