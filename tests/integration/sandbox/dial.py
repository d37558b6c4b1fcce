# Tries each road to the given loopback ports and prints what each gave. Arguments: a TCP port, a UDP port.
import errno, socket, sys

tcp_port, udp_port = int(sys.argv[1]), int(sys.argv[2])


def road(name, dial):
    try:
        dial()
        print(name, "OK")
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error.errno))


def stream(family, address, protocol=0):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as dialled:
        dialled.settimeout(2)
        dialled.connect(address)
        dialled.send(b"x")


def fast_open():
    with socket.socket() as dialled:
        dialled.settimeout(2)
        dialled.sendto(b"x", 0x20000000, ("127.0.0.1", tcp_port))


def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sent:
        sent.sendto(b"x", ("127.0.0.1", udp_port))


road("tcp", lambda: stream(socket.AF_INET, ("127.0.0.1", tcp_port)))
road("mptcp", lambda: stream(socket.AF_INET, ("127.0.0.1", tcp_port), 262))
road("mapped", lambda: stream(socket.AF_INET6, ("::ffff:127.0.0.1", tcp_port, 0, 0)))
road("fast open", fast_open)
road("udp", datagram)
