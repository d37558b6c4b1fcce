# Installs the filter in argv[1], sends its listener through standard input, and becomes the program in argv[2].
import ctypes, os, platform, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
data = open(sys.argv[1], 'rb').read()
steps = ctypes.create_string_buffer(data, len(data))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
filter = Program(len(data) // 8, ctypes.addressof(steps))
assert libc.prctl(38, 1, 0, 0, 0) == 0
number = {'x86_64': 317, 'aarch64': 277}[platform.machine()]
listener = libc.syscall(number, 1, 8, ctypes.byref(filter))
assert listener >= 0, os.strerror(ctypes.get_errno())
line = socket.socket(fileno=0)
socket.send_fds(line, [b'l'], [listener])
os.close(listener)
line.close()
os.set_inheritable(os.open('/dev/null', os.O_RDONLY), True)
os.execv(sys.executable, [sys.executable, '-I', '-c'] + sys.argv[2:])
