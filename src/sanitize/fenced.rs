//! Code blocks and mathematics: what GitHub draws instead of showing, and what stands unseen beside it.
//! It must never show a drawing's source as if a reader had seen it.

use std::ops::Range;

use super::edit::Edit;
use super::markdown::Direction;
use super::removals::Kind;

/// Languages that GitHub draws as a diagram, a map or a solid.
const DRAWN: [&str; 4] = ["mermaid", "geojson", "topojson", "stl"];

/// Languages that a block may name. The word is not shown, so that any other would be a hidden text.
#[rustfmt::skip]
const LANGUAGES: [&str; 224] = [
    "abap", "ada", "agda", "apex", "apl", "applescript", "asciidoc", "asm", "assembly", "astro", "awk", "bash",
    "bat", "batch", "bibtex", "bicep", "c", "c#", "c++", "cfg", "clojure", "cmake", "cmd", "cobol", "coffee",
    "coffeescript", "conf", "console", "cpp", "crystal", "cs", "csharp", "css", "csv", "cuda", "cue", "cypher", "d",
    "dart", "delphi", "diff", "django", "docker", "dockerfile", "dot", "dotenv", "ejs", "elisp", "elixir", "elm",
    "emacs-lisp", "erb", "erlang", "f#", "fish", "fortran", "fs", "fsharp", "gdscript", "geojson", "gherkin", "git",
    "gitignore", "gleam", "glsl", "go", "gotemplate", "gradle", "graphql", "groovy", "h", "haml", "handlebars",
    "haskell", "hcl", "hlsl", "hpp", "html", "http", "idris", "ini", "ipynb", "java", "javascript", "jinja", "jq",
    "js", "json", "json5", "jsonc", "jsonl", "jsx", "julia", "just", "kotlin", "kt", "latex", "lean", "less",
    "liquid", "lisp", "llvm", "log", "lua", "make", "makefile", "markdown", "math", "matlab", "md", "mdx", "mermaid",
    "meson", "mips", "mojo", "nasm", "nginx", "nim", "nix", "objc", "objective-c", "ocaml", "odin", "openscad",
    "output", "pascal", "patch", "perl", "pgsql", "php", "plain", "plaintext", "plsql", "po", "postcss", "postgres",
    "powershell", "prisma", "prolog", "promql", "properties", "proto", "protobuf", "ps1", "pug", "puppet",
    "purescript", "py", "pycon", "pyi", "pytb", "python", "python3", "qml", "r", "racket", "rb", "reason", "regex",
    "rego", "rescript", "rest", "rs", "rst", "ruby", "rust", "sass", "scala", "scheme", "scss", "sed", "sh", "shell",
    "shell-session", "smarty", "sol", "solidity", "sparql", "sql", "ssh-config", "stl", "stylus", "suggestion",
    "svelte", "svg", "swift", "systemd", "systemverilog", "tcl", "terminal", "terraform", "tex", "text", "tf",
    "toml", "topojson", "ts", "tsql", "tsv", "tsx", "twig", "txt", "typescript", "typst", "v", "vala", "vb", "vbnet",
    "verilog", "vhdl", "vim", "vue", "wasm", "wast", "wat", "wgsl", "x86asm", "xml", "xsl", "yaml", "yang", "yml",
    "zig", "zsh",
];

const NO_DIAGRAM: &str = "(diagram left out)";
const NO_MATHEMATICS: &str = "(mathematics left out)";

/// Commands of TeX that show what they are given and nothing else.
#[rustfmt::skip]
const PLAIN_COMMANDS: [&str; 118] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "pi", "varpi", "rho", "varrho", "sigma", "varsigma", "tau", "upsilon", "phi", "varphi",
    "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
    "frac", "dfrac", "tfrac", "sqrt", "sum", "prod", "int", "iint", "oint", "lim", "limsup", "liminf", "max", "min",
    "sup", "inf", "log", "ln", "lg", "exp", "sin", "cos", "tan", "det", "dim", "ker", "gcd", "mod", "bmod", "pmod",
    "le", "leq", "ge", "geq", "ne", "neq", "approx", "equiv", "sim", "in", "notin", "subset", "subseteq", "cup", "cap",
    "emptyset", "forall", "exists", "neg", "land", "lor", "to", "rightarrow", "leftarrow", "Rightarrow", "Leftarrow",
    "iff", "mapsto", "infty", "partial", "nabla", "cdot", "cdots", "ldots", "dots", "times", "div", "pm", "mp",
    "left", "right", "lfloor", "rfloor", "lceil", "rceil", "text", "mathrm", "mathbf",
];

/// Edits a fenced block: the info string is one word, and what would be drawn is left out or shown as code.
pub(super) fn block(document: &str, range: Range<usize>, direction: Direction<'_>) -> Option<Edit> {
    let source = document.get(range.clone())?;
    let first_line = source.split('\n').next().unwrap_or("");
    let sign = first_line
        .chars()
        .next()
        .filter(|c| matches!(c, '`' | '~'))?;
    let bar = first_line.len() - first_line.trim_start_matches(sign).len();
    let info = &first_line[bar..];
    let language: String = info
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '#' | '.' | '-'))
        .take(32)
        .collect();
    let lower = language.to_ascii_lowercase();
    let body = source.get(first_line.len()..).unwrap_or("");
    let drawn = DRAWN.contains(&lower.as_str());
    let mathematics = lower == "math" && !is_plain(body);
    if drawn || mathematics {
        let kind = if drawn {
            Kind::Diagram
        } else {
            Kind::Mathematics
        };
        return Some(match direction {
            Direction::Incoming => {
                let with = if drawn { NO_DIAGRAM } else { NO_MATHEMATICS };
                let end = if source.ends_with('\n') { "\n" } else { "" };
                Edit::new(range, format!("{with}{end}"), &[kind])
            }
            Direction::Outgoing(_) => Edit::new(
                range.start + bar..range.start + first_line.len(),
                "text",
                &[kind],
            ),
        });
    }
    let language = if LANGUAGES.contains(&lower.as_str()) {
        language
    } else {
        String::new()
    };
    if info.trim() == language {
        return None;
    }
    Some(Edit::new(
        range.start + bar..range.start + first_line.len(),
        language,
        &[Kind::InfoString],
    ))
}

/// Edits `$...$` and `$$...$$` that hold more than plain commands.
pub(super) fn mathematics(tex: &str, range: Range<usize>) -> Option<Edit> {
    (!is_plain(tex)).then(|| Edit::new(range, NO_MATHEMATICS, &[Kind::Mathematics]))
}

/// Edits code between dollars, which GitHub reads as mathematics too.
pub(super) fn dollar_code(document: &str, code: &str, range: Range<usize>) -> Option<Edit> {
    let before = document.get(..range.start)?.ends_with('$');
    let after = document.get(range.end..)?.starts_with('$');
    (before && after && !is_plain(code)).then(|| {
        Edit::new(
            range.start - 1..range.end + 1,
            NO_MATHEMATICS,
            &[Kind::Mathematics],
        )
    })
}

/// Whether every command is a plain one, and no comment hides the rest of a line.
fn is_plain(tex: &str) -> bool {
    if tex.contains('%') {
        return false;
    }
    tex.split('\\').skip(1).all(|after| {
        let name: String = after
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        if name.is_empty() {
            return after.is_empty()
                || after.starts_with([',', ';', ':', '!', ' ', '{', '}', '|', '_', '&', '\n']);
        }
        PLAIN_COMMANDS.contains(&name.as_str())
    })
}

/// Fences that are looked at for the one that is still open.
const OPEN_MAX: usize = 8;

/// What may close the fence that is still open at the end, the likeliest first: a line inside it may look like another one.
pub(super) fn closings(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let fences = text.lines().rev().filter_map(|line| {
        let line = line.trim_start();
        let sign = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = line.len() - line.trim_start_matches(sign).len();
        (length >= 3).then(|| sign.to_string().repeat(length))
    });
    for fence in fences.chain(["```".to_owned()]) {
        if !found.contains(&fence) {
            found.push(fence);
        }
        if found.len() == OPEN_MAX {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_mathematics_stays() {
        assert!(is_plain(r"\frac{a}{b} \le \sum_{i=0}^n x_i"));
        assert!(!is_plain(r"\color{white}{hidden}"));
        assert!(!is_plain(r"\phantom{hidden}"));
        assert!(!is_plain("a % hidden"));
        assert!(!is_plain(r"\href{https://x}{y}"));
    }
}
