# Tries each road to a TCP and a UDP port on the host's loopback; prints what each gave.
import errno, os, socket, struct, sys
tcp, udp = int(sys.argv[1]), int(sys.argv[2])
def attempt(name, road):
    try:
        road()
        print(name, 'OK')
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error.errno))
def dial(family, address, protocol=0):
    s = socket.socket(family, socket.SOCK_STREAM, protocol)
    s.settimeout(2)
    s.connect(address)
    s.send(b'x')
def fastopen():
    s = socket.socket()
    s.settimeout(2)
    s.sendto(b'x', 0x20000000, ('127.0.0.1', tcp))
def later():
    s = socket.socket()
    s.settimeout(2)
    s.setsockopt(6, 30, 1)
    s.connect(('127.0.0.1', tcp))
    s.send(b'x')
def datagram():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b'x', ('127.0.0.1', udp))
def raw():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 6)
attempt('tcp', lambda: dial(socket.AF_INET, ('127.0.0.1', tcp)))
attempt('mptcp', lambda: dial(socket.AF_INET, ('127.0.0.1', tcp), 262))
attempt('mapped', lambda: dial(socket.AF_INET6, ('::ffff:127.0.0.1', tcp, 0, 0)))
attempt('any', lambda: dial(socket.AF_INET, ('0.0.0.0', tcp)))
attempt('fastopen', fastopen)
attempt('fastopen-connect', later)
attempt('udp', datagram)
attempt('raw', raw)
