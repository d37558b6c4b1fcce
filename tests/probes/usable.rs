//! What must work behind the walls: the tools of a build, judged by what they print.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::stage::Who;
use crate::tests::left_out;

/// Debian's own: a user's installation is closed to the plain user.
const PYTHON: &str = "/usr/bin/python3";

/// One tool and what it must print.
struct Use {
    name: &'static str,
    /// Programs that it needs on the host.
    needs: &'static [&'static str],
    script: &'static str,
    prints: &'static str,
    /// Letters of the levels at which it does not work, as the documents say.
    not_at: &'static str,
    /// Whether only the calling user has what it needs: toolchains live in homes.
    callers: bool,
}

const fn works(
    name: &'static str,
    needs: &'static [&'static str],
    script: &'static str,
    prints: &'static str,
) -> Use {
    Use {
        name,
        needs,
        script,
        prints,
        not_at: "",
        callers: false,
    }
}

const USES: &[Use] = &[
    Use {
        callers: true,
        ..works(
            "cargo builds a crate without the network",
            &["cargo", "cc"],
            "mkdir -p small/src; cd small; printf '[package]\\nname = \"small\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n' > Cargo.toml; \
             echo 'fn main() { println!(\"built\"); }' > src/main.rs; cargo build --offline --quiet && target/debug/small",
            "built",
        )
    },
    works(
        "git makes a repository and a commit in a folder of the workspace",
        &["git"],
        "git init -q sub && cd sub && echo x > f && git add f && git -c user.name=n -c user.email=e@example.com commit -qm one && git log --format=%s",
        "one",
    ),
    works(
        "git reads the repository of the workspace",
        &["git"],
        "git status --short | head -1; git log --format=%s",
        "first",
    ),
    works(
        "npm runs a script",
        &["npm", "node"],
        "echo '{\"scripts\": {\"hello\": \"node -e \\\"console.log(40 + 2)\\\"\"}}' > package.json; npm run --silent hello",
        "42",
    ),
    works(
        "python's multiprocessing",
        &[PYTHON],
        "/usr/bin/python3 -c 'import multiprocessing as m; print(sum(m.Pool(2).map(abs, [-1, -2])))'",
        "3",
    ),
    works(
        "python's shared memory",
        &[PYTHON],
        "/usr/bin/python3 -c 'from multiprocessing import shared_memory as s; m = s.SharedMemory(create=True, size=9); m.buf[0] = 7; print(m.buf[0]); m.close(); m.unlink()'",
        "7",
    ),
    works(
        "python's asyncio with a process and a server",
        &[PYTHON],
        "/usr/bin/python3 -c '
import asyncio
async def on(reader, writer):
    writer.write(await reader.read(2)); writer.close()
async def main():
    process = await asyncio.create_subprocess_exec(\"true\")
    assert await process.wait() == 0
    server = await asyncio.start_server(on, \"127.0.0.1\", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b\"hi\"); print((await reader.read()).decode())
asyncio.run(main())'",
        "hi",
    ),
    works(
        "a web server of node on loopback",
        &["node"],
        "node -e 'const h = require(\"http\"); const s = h.createServer((q, r) => r.end(\"served\")).listen(0, \"127.0.0.1\", () => h.get({port: s.address().port, host: \"127.0.0.1\"}, r => r.on(\"data\", d => { console.log(String(d)); process.exit(0); })));'",
        "served",
    ),
    Use {
        not_at: "cd",
        ..works(
            "gdb runs a program",
            &["gdb"],
            "gdb -q -batch -ex run --args /bin/true 2>&1 | grep -o 'exited normally'",
            "exited normally",
        )
    },
    Use {
        not_at: "cd",
        ..works(
            "strace follows a program",
            &["strace"],
            "strace -o trace -e trace=execve /bin/true; grep -o execve trace",
            "execve",
        )
    },
    works(
        "a terminal of one's own",
        &[PYTHON],
        "/usr/bin/python3 -c 'import os, pty; pid, fd = pty.fork(); pid or os.execvp(\"tty\", [\"tty\"]); print(os.read(fd, 99).decode().strip()[:9])'",
        "/dev/pts/",
    ),
    works(
        "the small devices",
        &[],
        "echo gone > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; (echo x > /dev/full) 2>/dev/null || echo full",
        "4\n4\nfull",
    ),
    works(
        "shared memory files",
        &[],
        "echo x > /dev/shm/own-$$ && cat /dev/shm/own-$$ && rm /dev/shm/own-$$",
        "x",
    ),
    works(
        "the locale",
        &[PYTHON],
        "/usr/bin/python3 -c 'import locale; locale.setlocale(locale.LC_ALL, \"\"); print(locale.nl_langinfo(locale.CODESET))'",
        "UTF-8",
    ),
    works(
        "names of users",
        &["getent"],
        "getent passwd root | cut -d: -f1; getent group root | cut -d: -f1",
        "root\nroot",
    ),
    works(
        "temporary files and a home",
        &[],
        "f=$(mktemp) && echo x > \"$f\" && cp \"$f\" \"$HOME/f\" && cat \"$HOME/f\"",
        "x",
    ),
    works(
        "exit codes of what is started inside",
        &[],
        "sh -c 'exit 7'; echo $?; sh -c 'kill -9 $$'; echo $?",
        "7\n137",
    ),
    works(
        "signals among one's own",
        &[],
        "trap 'echo caught' USR1; kill -USR1 $$; sleep 30 & kill $!; wait $!; echo $?",
        "caught\n143",
    ),
];

/// Runs each of them at each of these levels; the answer names what did not work.
pub(crate) fn all(levels: &[(char, Who)]) -> Result<(), String> {
    let mut faults = Vec::new();
    for one in USES {
        let missing = one.needs.iter().find(|program| !is_there(program));
        if let Some(program) = missing {
            left_out(&format!("{}: {program} is not installed", one.name))?;
            continue;
        }
        for (level, who) in levels {
            let who = if one.callers { Who::Caller } else { *who };
            let output = run(one, *level, who).map_err(|error| error.to_string())?;
            let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let expected = !one.not_at.contains(*level);
            if (printed == one.prints) != expected {
                let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
                faults.push(format!(
                    "{} at level {level}: printed {printed:?}\n{complaint}",
                    one.name
                ));
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

fn run(one: &Use, level: char, who: Who) -> std::io::Result<Output> {
    let folder = tempfile::tempdir()?;
    let workspace = folder.path().join("ws");
    fs::create_dir(&workspace)?;
    repository(&workspace)?;
    let tagout = folder.path().join("tagout");
    let built = Path::new(env!("CARGO_BIN_EXE_tagout"));
    fs::hard_link(built, &tagout).or_else(|_elsewhere| fs::copy(built, &tagout).map(drop))?;
    let policy = folder.path().join("policy.yml");
    fs::write(&policy, "version: 1\nlimits: { wall-time: 90s }\n")?;
    who.own(&workspace)?;
    who.own_one(folder.path())?;
    let mut command = who.command(&tagout);
    command.args([
        "sandbox",
        "--level",
        &level.to_string(),
        "--policy",
        "../policy.yml",
        "--",
        "sh",
        "-c",
        one.script,
    ]);
    command
        .env("LANG", "C.UTF-8")
        .env("HOME", folder.path())
        .current_dir(&workspace);
    if one.callers {
        for name in [
            "HOME",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "PATH",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
    }
    command.output()
}

/// A repository with one commit in the workspace.
fn repository(workspace: &Path) -> std::io::Result<()> {
    if !is_there("git") {
        return Ok(());
    }
    let script = "git init -q . && git -c user.name=n -c user.email=e@example.com commit -q --allow-empty -m first";
    let done = Command::new("sh")
        .args(["-c", script])
        .current_dir(workspace)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", workspace)
        .status()?;
    if done.success() {
        Ok(())
    } else {
        Err(std::io::Error::other("git made no repository"))
    }
}
