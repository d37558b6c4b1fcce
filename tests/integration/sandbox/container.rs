//! Level c in a container with a default profile, as far as a seccomp filter can stand in for one: sockets cannot be taken
//! from other processes there, and the network must be the same all the same.

use std::net::TcpListener;
use std::path::Path;

use super::{PYTHON, Place, text};

const FORBID: &str = include_str!("forbid.py");
/// A server and a client in two processes, by several spellings, and a neighbour of the host.
const TALK: &str = "import socket,subprocess,sys,asyncio
async def main():
  async def on(r,w):
    w.write(await r.read(2)); w.close()
  for bound, dialled in [('127.0.0.1','127.0.0.1'),('0.0.0.0','localhost'),('::','::1')]:
    s=await asyncio.start_server(on,bound,0)
    p=s.sockets[0].getsockname()[1]
    c=await asyncio.create_subprocess_exec(sys.executable,'-c','import socket,sys; s=socket.create_connection((sys.argv[1],int(sys.argv[2])),5); s.send(b\"hi\"); print(s.recv(9).decode(), flush=True)',dialled,str(p))
    assert await c.wait()==0
    s.close(); await s.wait_closed()
    again=socket.socket(socket.AF_INET6 if ':' in bound else socket.AF_INET); again.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); again.bind((bound,p)); again.close()
asyncio.run(main())
try: socket.create_connection(('127.0.0.1',int(sys.argv[1])),5); print('REACHED')
except OSError as e: print('refused', e.errno)
";

#[test]
fn network_of_level_c_works_where_sockets_cannot_be_taken() {
    for place in Place::of_each_user() {
        let host = TcpListener::bind("127.0.0.1:0").unwrap();
        host.set_nonblocking(true).unwrap();
        let port = host.local_addr().unwrap().port().to_string();
        let output = place
            .plain(Path::new(PYTHON))
            .args(["-c", FORBID])
            .arg(place.path("tagout"))
            .args(["sandbox", "--level", "c", "--", PYTHON, "-c", TALK, &port])
            .output()
            .unwrap();
        let said = text(&output.stdout);
        let who = format!("{}: {}", place.who(), text(&output.stderr));
        assert_eq!(said, "hi\nhi\nhi\nrefused 111\n", "{who}");
        assert!(host.accept().is_err(), "{who}");
        assert!(who.contains(&format!("connect 127.0.0.1:{port}")), "{who}");
    }
}
