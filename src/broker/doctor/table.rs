//! What `tagout doctor --tools` lets each tool do. Every line must make the tool print what only the server can have said.

/// A tool and its question; `$U` is the server's URL.
#[derive(Debug)]
pub(super) struct Tool {
    /// Its name in the answer.
    pub(super) name: &'static str,
    /// What succeeds where the tool is there.
    pub(super) there: &'static str,
    /// What is run; its output holds the server's word if it was reached.
    pub(super) run: &'static str,
}

const fn tool(name: &'static str, there: &'static str, run: &'static str) -> Tool {
    Tool { name, there, run }
}

/// The tools; the slow ones stand first, so that they do not end the line.
pub(super) const TOOLS: &[Tool] = &[
    tool("java", "command -v javac", "java Tool.java $U/"),
    tool(
        "npm",
        "command -v npm",
        "npm view tool description --registry $U/npm/ --fetch-retries 0",
    ),
    tool(
        "pip",
        "command -v pip",
        "pip download -vv --retries 0 --no-deps --no-cache-dir --disable-pip-version-check --index-url $U/simple tool",
    ),
    tool(
        "cargo",
        "command -v cargo",
        "cargo generate-lockfile && cat Cargo.lock",
    ),
    tool(
        "python aiohttp",
        "python3 -c 'import importlib.util as u;assert u.find_spec(\"aiohttp\")'",
        "python3 aio.py $U/",
    ),
    tool(
        "python httpx",
        "python3 -c 'import importlib.util as u;assert u.find_spec(\"httpx\")'",
        "python3 -c 'import sys,httpx as r;print(r.get(sys.argv[1]).text)' $U/",
    ),
    tool(
        "python requests",
        "python3 -c 'import importlib.util as u;assert u.find_spec(\"requests\")'",
        "python3 -c 'import sys,requests as r;print(r.get(sys.argv[1]).text)' $U/",
    ),
    tool(
        "python urllib",
        "command -v python3",
        "python3 -c 'import sys,urllib.request as u;print(u.urlopen(sys.argv[1]).read())' $U/",
    ),
    tool(
        "go",
        "command -v go",
        "cd go && GOFLAGS=-mod=mod GONOSUMDB='*' GOPROXY=$U/go go mod download tool.example/t@v1.0.0",
    ),
    tool(
        "node fetch",
        "command -v node",
        "node -e 'fetch(process.argv[1]).then(r=>r.text()).then(console.log)' $U/",
    ),
    tool(
        "node https",
        "command -v node",
        "node -e 'require(\"https\").get(process.argv[1],r=>r.pipe(process.stdout))' $U/",
    ),
    tool(
        "deno",
        "command -v deno",
        "deno eval 'console.log(await (await fetch(Deno.args[0])).text())' $U/",
    ),
    tool(
        "ruby",
        "command -v ruby",
        "ruby -rnet/http -e 'print Net::HTTP.get(URI(ARGV[0]))' $U/",
    ),
    tool(
        "perl",
        "perl -MIO::Socket::SSL -MHTTP::Tiny -e 1",
        "perl -MHTTP::Tiny -e 'print HTTP::Tiny->new(verify_SSL=>1)->get(shift)->{content}' $U/",
    ),
    tool(
        "php",
        "command -v php",
        "php -r 'echo file_get_contents($argv[1]);' $U/",
    ),
    tool(
        "php curl",
        "php -m | grep -x curl",
        "php -r 'curl_exec(curl_init($argv[1]));' $U/",
    ),
    tool(
        "apt",
        "test -x /usr/lib/apt/apt-helper",
        "/usr/lib/apt/apt-helper -o APT::Sandbox::User= -o Acquire::Retries=0 download-file $U/ apt.txt && cat apt.txt",
    ),
    tool(
        "uv",
        "command -v uv",
        "uv pip compile --no-cache --no-progress --no-python-downloads --index-url $U/simple tool.in",
    ),
    tool("git", "command -v git", "git ls-remote $U/git"),
    tool("curl", "command -v curl", "curl -sS $U/"),
    tool("wget", "command -v wget", "wget -q -t 1 -O - $U/"),
];

/// Files that some of them run.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        "[package]\nname = \"asks\"\nversion = \"0.0.0\"\n[dependencies]\ntool = { version = \"*\", registry = \"t\" }\n",
    ),
    ("src/lib.rs", ""),
    ("tool.in", "tool\n"),
    ("go/go.mod", "module asks\n"),
    (
        "aio.py",
        "import asyncio, sys, aiohttp\n\
         async def main():\n    \
             async with aiohttp.ClientSession() as session:\n        \
                 async with session.get(sys.argv[1]) as answer:\n            \
                     print(await answer.text())\n\
         asyncio.run(main())\n",
    ),
    (
        "Tool.java",
        "import java.net.URL;\n\
         public class Tool { public static void main(String[] a) throws Exception {\n\
         new URL(a[0]).openStream().transferTo(System.out); } }\n",
    ),
];
