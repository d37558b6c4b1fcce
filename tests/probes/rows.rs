//! The rows of the system call filter as the documents show them, with their numbers on both processor families.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use seccompiler::SeccompCmpOp as Op;
use tagout::sandbox::walls::syscalls::notify::{self, Answer, Architecture};
use tagout::sandbox::walls::syscalls::table::{self, Row, Scope};

use crate::document;
use crate::tests::left_out;

/// Numbers by name.
type Numbers = BTreeMap<String, i64>;

/// Calls that only x86_64 has.
const X86_64_ONLY: &[&str] = &[
    "SYS_iopl",
    "SYS_ioperm",
    "SYS_modify_ldt",
    "SYS_uretprobe",
    "SYS_mknod",
];

/// From this number on both families have the same (linux/unistd.h).
const SAME_FROM: i64 = 424;

/// The numbers that the crate `libc` has for a family, from its source: this program is built for one family only.
fn of_libc(file: &str) -> Option<Numbers> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(manifest.join("Cargo.lock")).ok()?;
    let version = lock
        .split_once("name = \"libc\"\nversion = \"")?
        .1
        .split('"')
        .next()?
        .to_owned();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    let place = format!("libc-{version}/src/unix/linux_like/linux/gnu/b64/{file}");
    let text = registries
        .flatten()
        .find_map(|registry| fs::read_to_string(registry.path().join(&place)).ok())?;
    let mut numbers = Numbers::new();
    for line in text.lines() {
        let line = line.trim().strip_prefix("pub const SYS_");
        let Some((name, rest)) = line.and_then(|line| line.split_once(": c_long = ")) else {
            continue;
        };
        if let Ok(number) = rest.trim_end_matches(';').parse() {
            numbers.insert(format!("SYS_{name}"), number);
        }
    }
    (numbers.len() > 200).then_some(numbers)
}

/// Both families' numbers; none where the source is not at hand.
fn both() -> Option<[Numbers; 2]> {
    Some([of_libc("x86_64/not_x32.rs")?, of_libc("aarch64/mod.rs")?])
}

/// The table is built for one family; this holds its numbers against both.
pub(crate) fn numbers() -> Result<(), String> {
    let Some([x86, arm]) = both() else {
        return left_out(
            "the numbers of both processor families: the source of libc is not at hand",
        );
    };
    let here = if cfg!(target_arch = "x86_64") {
        &x86
    } else {
        &arm
    };
    for row in table::refused().iter().chain(&table::unknown()) {
        if here
            .get(row.name)
            .is_some_and(|number| *number != row.number)
        {
            return Err(format!("{} has another number in libc", row.name));
        }
        let known = x86.contains_key(row.name) && arm.contains_key(row.name);
        if !known && row.number < SAME_FROM && !X86_64_ONLY.contains(&row.name) {
            return Err(format!("{} has no number on one of the families", row.name));
        }
    }
    let mut calls: Vec<_> = notify::rules(&[])
        .into_iter()
        .map(|rule| rule.call)
        .collect();
    calls.extend(notify::NOTIFIED);
    for call in calls {
        for (architecture, numbers) in [(Architecture::X86_64, &x86), (Architecture::Aarch64, &arm)]
        {
            let known = numbers.get(&format!("SYS_{}", call.name));
            if known != Some(&i64::from(call.number(architecture))) {
                return Err(format!(
                    "{} is {known:?} in libc for {architecture:?}",
                    call.name
                ));
            }
        }
    }
    Ok(())
}

fn condition(row: &Row) -> String {
    let words: Vec<String> = row
        .tests
        .iter()
        .map(|test| {
            let argument = test.argument + 1;
            match test.operation {
                Op::Eq => format!("argument {argument} is {:#x}", test.value),
                Op::Ne => format!("argument {argument} is not {:#x}", test.value),
                Op::MaskedEq(mask) if mask == test.value => {
                    format!("argument {argument} has bit {mask:#x}")
                }
                Op::MaskedEq(mask) => {
                    format!("argument {argument} under {mask:#x} is {:#x}", test.value)
                }
                _ => format!("argument {argument} is compared with {:#x}", test.value),
            }
        })
        .collect();
    if words.is_empty() {
        "always".to_owned()
    } else {
        words.join(" and ")
    }
}

fn table_of(rows: &[Row], numbers: &[Numbers; 2]) -> String {
    let mut text = String::from(
        "| call | x86_64 | aarch64 | levels | when | why |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let name = row.name.trim_start_matches("SYS_");
        let cells = numbers
            .each_ref()
            .map(|numbers| match numbers.get(row.name) {
                Some(number) => number.to_string(),
                None if row.number >= SAME_FROM => row.number.to_string(),
                None => "-".to_owned(),
            });
        let x86 = if cells[0] == "-" {
            row.number.to_string()
        } else {
            cells[0].clone()
        };
        let levels = match row.scope {
            Scope::Everywhere => "all",
            Scope::Shared => "c, d",
        };
        writeln!(
            text,
            "| `{name}` | {x86} | {} | {levels} | {} | {} |",
            cells[1],
            condition(row),
            row.reason
        )
        .expect("a string takes everything");
    }
    text
}

fn asked() -> String {
    let mut text =
        String::from("| call | x86_64 | aarch64 | answer | why |\n|---|---|---|---|---|\n");
    for rule in notify::rules(&[]) {
        let answer = match rule.answer {
            Answer::Ask => "the supervisor decides".to_owned(),
            Answer::Error(number) => {
                std::io::Error::from_raw_os_error(i32::from(number)).to_string()
            }
        };
        let answer = answer.split(" (").next().unwrap_or_default().to_lowercase();
        let [x86, arm] =
            [Architecture::X86_64, Architecture::Aarch64].map(|family| rule.call.number(family));
        writeln!(
            text,
            "| `{}` | {x86} | {arm} | {answer} | {} |",
            rule.call.name, rule.reason
        )
        .expect("a string takes everything");
    }
    text
}

/// Whether `docs/syscalls.md` holds the rows as they are.
pub(crate) fn document_is_current() -> Result<(), String> {
    let Some(numbers) = both() else {
        return left_out("the document of system calls: the source of libc is not at hand");
    };
    if cfg!(not(target_arch = "x86_64")) {
        return left_out("the document of system calls: it is made on x86_64, which has all rows");
    }
    let generated = format!(
        "## Refused with EPERM\n\n{}\n## Not there (ENOSYS)\n\nCallers take these for calls of a newer kernel and fall back to older ones, which can be judged. \
         Every number above {} is answered so too.\n\n{}\n## At level c besides\n\n{}\n",
        table_of(&table::refused(), &numbers),
        table::NUMBER_MAX,
        table_of(&table::unknown(), &numbers),
        asked(),
    );
    document::compare("docs/syscalls.md", "rows", &generated)
}
