# Servers and clients of one run on loopback, as common programs write them.
import asyncio, errno, http.server, select, socket, threading, urllib.request
def echo(server):
    def serve():
        while True:
            c, _ = server.accept()
            c.sendall(c.recv(100))
            c.close()
    threading.Thread(target=serve, daemon=True).start()
def ask(address, family=socket.AF_INET):
    s = socket.socket(family)
    s.settimeout(5)
    s.connect(address)
    s.sendall(b'hello')
    assert s.recv(10) == b'hello'
    assert s.getpeername()[1] == address[1]
def server(family, address, only=None):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if only is not None:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    s.bind(address)
    s.listen(8)
    echo(s)
    return s.getsockname()
four = server(socket.AF_INET, ('0.0.0.0', 0))
assert four[0] == '127.0.0.1', four
ask(('127.0.0.1', four[1]))
ask(('0.0.0.0', four[1]))
ask(('::ffff:127.0.0.1', four[1]), socket.AF_INET6)
six = server(socket.AF_INET6, ('::', 0), 1)
assert six[0] == '::1', six
ask(('::1', six[1]), socket.AF_INET6)
both = server(socket.AF_INET6, ('::', 0), 0)
assert both[0] == '::ffff:127.0.0.1', both
ask(('127.0.0.1', both[1]))
ask(('::1', both[1]), socket.AF_INET6)
print('plain')
# A socket that does not wait keeps its epoll registration, and says EINPROGRESS as on a bare host.
s = socket.socket()
s.setblocking(False)
poll = select.epoll()
poll.register(s, select.EPOLLOUT | select.EPOLLET)
poll.poll(0)
assert s.connect_ex(('127.0.0.1', four[1])) in (0, errno.EINPROGRESS)
assert poll.poll(5)
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
assert s.connect_ex(('127.0.0.1', four[1])) in (0, errno.EISCONN)
assert s.connect_ex(('127.0.0.1', four[1])) == errno.EISCONN
s.send(b'hello')
s.setblocking(True)
assert s.recv(10) == b'hello'
# Disconnect and connect anew.
s = socket.socket()
s.connect(('127.0.0.1', four[1]))
s.send(b'hello')
assert s.recv(10) == b'hello'
print('epoll')
async def main():
    async def serve(reader, writer):
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()
    for host in ('127.0.0.1', None):
        server = await asyncio.start_server(serve, host, 0)
        for s in server.sockets:
            reader, writer = await asyncio.open_connection(*s.getsockname()[:2])
            writer.write(b'hello')
            assert await reader.read(100) == b'hello'
            writer.close()
        server.close()
asyncio.run(main())
print('asyncio')
h = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=h.serve_forever, daemon=True).start()
assert urllib.request.urlopen('http://127.0.0.1:%d/' % h.server_port).status == 200
print('done')
