//! The tests by name, in the manner of the usual test programs, so that their runners can list and choose them.

use crate::case::Case;
use crate::cases;
use crate::document;
use crate::launch::Walls;
use crate::leftovers;
use crate::matrix::{self, Column};
use crate::peers::Peer;
use crate::rows;
use crate::stage::Who;
use crate::usable;

/// What a test says.
type Verdict = Result<(), String>;

/// A test and its name.
type Test = (&'static str, fn() -> Verdict);

/// All of them.
const TESTS: &[Test] = &[
    ("every_case_is_held_or_reported_at_every_level", every_case),
    ("tools_of_a_build_work_at_every_level", tools),
    ("many_runs_leave_nothing_behind", leftovers),
    ("names_of_cases_are_unique", unique_names),
    ("document_shows_the_cases", document::is_current),
    ("numbers_of_calls_are_those_of_both_families", rows::numbers),
    (
        "document_shows_the_rows_of_the_filter",
        rows::document_is_current,
    ),
];

/// Lists or runs the tests whose names hold a given word.
pub(crate) fn run(arguments: &[String]) -> Verdict {
    let mut words = Vec::new();
    let mut skipped = Vec::new();
    let mut rest = arguments.iter();
    let (mut list, mut ignored, mut exact) = (false, false, false);
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--list" => list = true,
            "--ignored" => ignored = true,
            "--exact" => exact = true,
            "--skip" => skipped.extend(rest.next()),
            "--format" | "--test-threads" | "--color" | "-Z" => drop(rest.next()),
            flag if flag.starts_with('-') => {}
            word => words.push(word),
        }
    }
    let chosen = |name: &str| {
        let matches = |word: &str| {
            if exact {
                name == word
            } else {
                name.contains(word)
            }
        };
        (words.is_empty() || words.iter().any(|word| matches(word)))
            && !skipped.iter().any(|word| matches(word))
    };
    // No test is left out by default.
    let tests = TESTS.iter().filter(|(name, _)| !ignored && chosen(name));
    let mut failed = 0;
    for (name, test) in tests {
        if list {
            println!("{name}: test");
            continue;
        }
        println!("test {name} ...");
        match test() {
            Ok(()) => println!("test {name} ... ok"),
            Err(why) => {
                failed += 1;
                println!("test {name} ... FAILED\n{why}");
            }
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(format!("{failed} failed"))
    }
}

fn unique_names() -> Verdict {
    let all = cases::all();
    for (place, case) in all.iter().enumerate() {
        if all[..place]
            .iter()
            .any(|other: &Case| other.name == case.name)
        {
            return Err(format!("{} is there twice", case.name));
        }
    }
    Ok(())
}

/// Says that something was left out, or fails where everything was asked for.
pub(crate) fn left_out(what: &str) -> Verdict {
    if std::env::var_os("TAGOUT_TEST_ALL").is_some() {
        return Err(format!("left out, and TAGOUT_TEST_ALL is set: {what}"));
    }
    println!("left out: {what}");
    Ok(())
}

/// The columns that can be run here: without walls, and each level as plain user and as root.
fn wanted() -> Result<Vec<Column>, String> {
    let plain = Who::plain();
    let mut columns = vec![Column {
        walls: Walls::None,
        who: plain,
    }];
    let root = rustix::process::geteuid().is_root();
    for level in ['a', 'b', 'c', 'd'] {
        for who in [plain, Who::Caller] {
            if who == Who::Caller && (!root || plain == Who::Caller) {
                if plain != Who::Caller {
                    left_out("the columns of root, because the tests do not run as root")?;
                }
                continue;
            }
            // A plain user has level A by a helper that sudo starts; the tests of that helper try it.
            if level == 'a' && who == plain {
                continue;
            }
            match matrix::offered(level, who) {
                Ok(()) => columns.push(Column {
                    walls: Walls::Tagout(level),
                    who,
                }),
                Err(why) => println!("level {level} cannot be had here: {why}"),
            }
        }
    }
    Ok(columns)
}

/// The levels that can be had here, and by whom: the plain user where that is possible, root for the level that it alone has.
fn levels() -> Vec<(char, Who)> {
    let who = |level| match level {
        'a' => Who::Caller,
        _ => Who::plain(),
    };
    ['a', 'b', 'c']
        .into_iter()
        .map(|level| (level, who(level)))
        .filter(|(level, who)| matrix::offered(*level, *who).is_ok())
        .collect()
}

fn tools() -> Verdict {
    usable::all(&levels())
}

fn leftovers() -> Verdict {
    leftovers::none(&levels())
}

fn every_case() -> Verdict {
    let columns = wanted()?;
    let mut seen = matrix::columns(&columns).map_err(|error| error.to_string())?;
    seen.sort_by_key(|(column, _)| column.head());
    matrix::print(&seen);
    let mut faults: Vec<String> = seen
        .iter()
        .flat_map(|(column, sights)| matrix::faults(column, sights))
        .collect();
    faults.extend(document::holds(&seen).err());
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n\n"))
    }
}

/// `nobody`.
const NOBODY: u32 = 65534;

/// Runs the cases behind other programs and prints a table. `--as UID` names the user where the tests run as root: firejail
/// wants one with a name, a shell and no special meaning. `--evidence` prints what each attack that got through said.
pub(crate) fn compare(arguments: &[String]) -> Verdict {
    let mut who = match Who::plain() {
        Who::Plain(_) => Who::Plain(NOBODY),
        Who::Caller => Who::Caller,
    };
    let mut walls = Vec::new();
    let mut evidence = false;
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if word == "--as" {
            let id = rest.next().and_then(|id| id.parse().ok());
            who = Who::Plain(id.ok_or("--as wants the number of a user")?);
            continue;
        }
        if word == "--evidence" {
            evidence = true;
            continue;
        }
        let peer = Peer::named(word).ok_or("the peers are bwrap and firejail")?;
        let version = peer.version();
        println!(
            "{}",
            version.ok_or_else(|| format!("{word} is not installed"))?
        );
        walls.push(Walls::Peer(peer));
    }
    let columns: Vec<Column> = walls
        .into_iter()
        .map(|walls| Column { walls, who })
        .collect();
    let mut seen = matrix::columns(&columns).map_err(|error| error.to_string())?;
    seen.sort_by_key(|(column, _)| column.head());
    for (column, sights) in &seen {
        for (name, sight) in sights {
            match sight {
                Err(fault) => println!("{name} ({}): {fault}", column.head()),
                Ok(seen) if evidence && seen.through => {
                    println!("{name} ({}): {}", column.head(), seen.evidence);
                }
                Ok(_) => {}
            }
        }
    }
    println!("{}", document::peers(&seen));
    Ok(())
}
