# Reaches names and addresses that lie behind the door.
import select, socket
def say(s, text):
    s.sendall(text)
    s.close()
found = socket.getaddrinfo('API.example.com', 443, type=socket.SOCK_STREAM)
assert len(found) == 1 and found[0][4][0].startswith('198.18.'), found
say(socket.create_connection(('api.example.com', 443), 5), b'blocking')
s = socket.socket()
s.setblocking(False)
s.connect_ex((found[0][4][0], 80))
assert select.select([], [s], [], 5)[1]
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
s.setblocking(True)
say(s, b'epoll')
s = socket.socket()
s.connect(('10.9.8.7', 443))
say(s, b'literal')
s = socket.socket(socket.AF_INET6)
s.connect(('::ffff:10.9.8.7', 443))
say(s, b'mapped')
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
s.connect(('2001:db8::1', 443))
say(s, b'six')
s = socket.socket()
s.connect(('127.0.0.1', 80))
say(s, b'loopback')
for address in (('api.example.com', 22), ('198.18.200.200', 443)):
    try:
        socket.create_connection(address, 5)
        raise AssertionError(address)
    except ConnectionRefusedError:
        pass
print('done')
