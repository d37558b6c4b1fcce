# Unix sockets: those that this run makes, and two of the host (a path, an abstract name).
import asyncio, errno, multiprocessing.connection, os, socket, sys, tempfile, threading
def fails(number, call):
    try:
        call()
    except OSError as error:
        assert error.errno == number, error
        return
    raise AssertionError('it went through')
def connect(address, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind)
    s.connect(address)
    return s
def serve(address, kind=socket.SOCK_STREAM):
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(address)
    server.listen(1)
    def echo():
        while True:
            c, _ = server.accept()
            c.send(c.recv(100))
    threading.Thread(target=echo, daemon=True).start()
    return server
def ask(address, kind=socket.SOCK_STREAM):
    s = connect(address, kind)
    s.send(b'hello')
    assert s.recv(10) == b'hello'
here = os.getcwd()
server = serve(here + '/absolute.sock')
assert server.getsockname() == here + '/absolute.sock'
ask(here + '/absolute.sock')
ask('absolute.sock')
serve('relative.sock', socket.SOCK_SEQPACKET)
ask(here + '/relative.sock', socket.SOCK_SEQPACKET)
os.mkdir('sub')
os.chdir('sub')
ask('../absolute.sock')
name = '\0tagout-test-own-%d' % os.getpid()
serve(name)
ask(name)
fails(errno.ENOENT, lambda: connect(here + '/nothing.sock'))
open('file', 'w').close()
fails(errno.ECONNREFUSED, lambda: connect('file'))
fails(errno.EPROTOTYPE, lambda: connect(here + '/relative.sock'))
# Those of the host: by path, through a link, by name.
fails(errno.EACCES, lambda: connect(sys.argv[1]))
os.symlink(sys.argv[1], 'link.sock')
fails(errno.EACCES, lambda: connect('link.sock'))
fails(errno.EACCES, lambda: connect('\0' + sys.argv[2]))
# A full listener makes a waiting program wait, and the other one gets EAGAIN.
full = socket.socket(socket.AF_UNIX)
full.bind('full.sock')
full.listen(0)
first = connect('full.sock')
other = socket.socket(socket.AF_UNIX)
other.setblocking(False)
fails(errno.EAGAIN, lambda: other.connect('full.sock'))
threading.Timer(0.1, full.accept).start()
connect('full.sock')
left, right = socket.socketpair()
left.send(b'x')
assert right.recv(1) == b'x'
with multiprocessing.connection.Listener(here + '/listener.sock') as listener:
    def client():
        c = multiprocessing.connection.Client(listener.address)
        c.send('hello')
    threading.Thread(target=client).start()
    assert listener.accept().recv() == 'hello'
async def pair():
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, int)
asyncio.run(pair())
print('done')
