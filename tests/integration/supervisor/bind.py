# What may be bound and listened to; the host's own addresses and unbound listeners are refused.
import errno, socket
def fails(number, call):
    try:
        call()
    except OSError as error:
        assert error.errno == number, error
        return
    raise AssertionError('it went through')
s = socket.socket()
fails(errno.EACCES, lambda: s.listen(1))
fails(errno.EADDRNOTAVAIL, lambda: socket.socket().bind(('10.9.8.7', 0)))
s.bind(('127.0.0.1', 0))
s.listen(1)
port = s.getsockname()[1]
fails(errno.EADDRINUSE, lambda: socket.socket().bind(('127.0.0.1', port)))
fails(errno.EISCONN, lambda: s.connect(('127.0.0.1', port)))
fails(errno.EINVAL, lambda: s.bind(('127.0.0.1', 0)))
# Not a socket, no such descriptor, no such memory, wrong family.
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def raw(fd, address, length):
    assert libc.connect(fd, address, length) == -1
    return ctypes.get_errno()
assert raw(0, bytes(16), 16) == errno.ENOTSOCK
assert raw(999, bytes(16), 16) == errno.EBADF
fresh = socket.socket()
assert raw(fresh.fileno(), ctypes.c_void_p(8), 16) == errno.EFAULT
assert raw(fresh.fileno(), bytes(16), 500) == errno.EINVAL
assert raw(fresh.fileno(), bytes([2, 0, 0]), 3) == errno.EINVAL
assert raw(fresh.fileno(), bytes([10, 0]) + bytes(26), 28) == errno.EAFNOSUPPORT
# No option leads a packet elsewhere: an interface, a source route, a routing header.
other = socket.socket(socket.AF_INET6)
fails(errno.EPERM, lambda: fresh.setsockopt(socket.SOL_SOCKET, 25, b'eth0'))
fails(errno.EPERM, lambda: fresh.setsockopt(socket.IPPROTO_IP, 4, bytes([131, 11, 4, 10, 9, 8, 7, 127, 0, 0, 1, 0])))
fails(errno.EPERM, lambda: other.setsockopt(socket.IPPROTO_IPV6, 57, bytes(24)))
fails(errno.EPERM, lambda: other.setsockopt(socket.IPPROTO_IPV6, 50, bytes(20)))
print('done')
