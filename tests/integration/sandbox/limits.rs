//! Limits from outside: a program runs into each of them, and the run ends with its name and leaves the host well.

use std::fs;

use super::{Left, PYTHON, Place};

/// Runs this at each level, as the plain user and as root if this is root.
fn everywhere(policy: &str, command: &[&str], judge: impl Fn(&str, &Place, &Left)) {
    for level in super::levels() {
        for place in Place::of_each_user() {
            // What hangs ends with a name that is not the expected one.
            let policy = format!("version: 1\nlimits: {{wall-time: 2m, {policy}}}\n");
            let left = place.under(level, &policy, command);
            let who = format!("{level}, {}: {left:?}", place.who());
            judge(&who, &place, &left);
        }
    }
}

fn ends_with(name: &str, policy: &str, command: &[&str]) {
    everywhere(policy, command, |who, _, left| {
        assert_eq!(left.code, Some(124), "{who}");
        assert_eq!(left.report["limit"], name, "{who}");
        assert_eq!(left.report["exit"], 124, "{who}");
        assert!(
            left.errors.contains(&format!("limit reached: {name}")),
            "{who}"
        );
    });
}

#[test]
fn one_hog_of_memory_is_ended_and_named() {
    let script = "b=[]\nwhile True: b.append(bytearray(1<<20))";
    ends_with("memory", "memory: 96MiB", &[PYTHON, "-c", script]);
}

#[test]
fn one_large_block_of_memory_is_ended_and_named() {
    let script = "b=bytearray(1<<30); b[:]=b'x'*(1<<30)\nimport time; time.sleep(60)";
    ends_with("memory", "memory: 96MiB", &[PYTHON, "-c", script]);
}

#[test]
fn many_small_hogs_of_memory_are_ended_and_named() {
    let script = "import os,time\nfor _ in range(8):\n  if os.fork()==0: b=b'x'*(24<<20); time.sleep(60)\ntime.sleep(60)";
    ends_with("memory", "memory: 128MiB", &[PYTHON, "-c", script]);
}

#[test]
fn fork_bomb_is_ended_and_named() {
    // It doubles as one does, and stops growing by itself: a wall that does not hold must not take the machine with it.
    let bomb = "f() { if [ $1 -gt 0 ]; then f $(($1-1)) & f $(($1-1)); else sleep 60; fi; }; f 9; sleep 60";
    ends_with("processes", "processes: 40", &["sh", "-c", bomb]);
}

#[test]
fn kernel_itself_lets_no_more_processes_be() {
    // Faster than any look: where the kernel counts the run alone, it is the kernel that stops it.
    let script = "import os,time,sys\nn=0\ntry:\n  while n<300:\n    if os.fork()==0: time.sleep(20); os._exit(0)\n    n+=1; os.write(1,b'.')\nexcept OSError: pass\ntime.sleep(20)";
    everywhere("processes: 20", &[PYTHON, "-c", script], |who, _, left| {
        assert_eq!(left.report["limit"], "processes", "{who}");
        if left.report["walls"]["limits.processes"] == "enforced" {
            assert!((20..=20 + 128).contains(&left.said.len()), "{who}");
        }
    });
    let state = |level: &str, place: &Place| {
        let left = place.under(level, "version: 1\n", &["true"]);
        left.report["walls"]["limits.processes"].clone()
    };
    for place in Place::of_each_user() {
        let plain = place.who() == "plain user";
        assert_eq!(
            state("b", &place),
            if plain { "enforced" } else { "partial" }
        );
        assert_eq!(
            state("c", &place),
            if plain { "partial" } else { "enforced" }
        );
    }
}

#[test]
fn output_beyond_its_limit_ends_the_run_and_is_not_passed_on() {
    let more = "yes Q & yes Q >&2 & wait";
    everywhere("output: 64KiB", &["sh", "-c", more], |who, _, left| {
        assert_eq!(left.code, Some(124), "{}", &who[..40]);
        assert_eq!(left.report["limit"], "output");
        assert_eq!(left.report["walls"]["limits.output"], "enforced");
        // Two bytes a line, of which the last may be half.
        let lines = (left.said.clone() + &left.errors).matches('Q').count();
        assert!((32 * 1024 - 1..=32 * 1024 + 1).contains(&lines), "{lines}");
    });
    // The last word of a program that ends by itself counts too.
    let last = ["sh", "-c", "head -c 65537 /dev/zero | tr '\\0' x"];
    ends_with("output", "output: 64KiB", &last);
}

#[test]
fn output_within_its_limit_passes_whole_and_in_order() {
    let script = "exec 2>&1; i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; [ $i = 0 ] || echo $i >&2; done; exit 7";
    let expected: String = (1..=300)
        .map(|number| format!("{number}\n{number}\n"))
        .collect();
    everywhere("output: 64KiB", &["sh", "-c", script], |who, _, left| {
        assert_eq!(
            (left.code, left.said.as_str()),
            (Some(7), expected.as_str()),
            "{who}"
        );
        assert!(left.report["limit"].is_null(), "{who}");
    });
    // Without a limit of the policy's own everything passes, and the report says so.
    let much = ["sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x"];
    let place = Place::new();
    let left = place.under("c", "version: 1\n", &much);
    assert_eq!((left.code, left.said.len()), (Some(0), 20_000_000));
    assert_eq!(left.report["walls"]["limits.output"], "absent");
}

#[test]
fn processes_within_the_limit_are_nobodys_business() {
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 0.3 & done; wait; echo done";
    everywhere("processes: 16", &["sh", "-c", script], |who, _, left| {
        assert_eq!(left.code, Some(0), "{who}");
        assert!(left.report["limit"].is_null(), "{who}");
    });
}

#[test]
fn processor_time_of_children_counts_and_is_named() {
    let script = "while :; do sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; done";
    ends_with("cpu-time", "cpu-time: 1s", &["sh", "-c", script]);
}

#[test]
fn file_beyond_its_size_is_refused_and_named() {
    let real = ["dd", "if=/dev/zero", "of=big", "bs=65536", "count=200"];
    let sparse = ["truncate", "-s", "10G", "big"];
    let below = [
        "sh",
        "-c",
        "dd if=/dev/zero of=big bs=65536 count=200; exit 3",
    ];
    let python = [PYTHON, "-c", "open('big','wb').write(b'x'*(10<<20))"];
    for command in [&real[..], &sparse, &below, &python] {
        ends_with("file-size", "file-size: 1MiB", command);
    }
    everywhere("file-size: 1MiB", &real, |who, place, _| {
        let length = fs::metadata(place.path("ws/big")).map_or(0, |meta| meta.len());
        assert!(length <= 1 << 20, "{who}: {length}");
    });
}

#[test]
fn run_that_goes_on_after_a_refused_file_is_told_and_not_ended() {
    let script =
        "dd if=/dev/zero of=/tmp/x bs=1M count=4; truncate -s 10G big & wait; echo went on";
    everywhere("file-size: 1MiB", &["sh", "-c", script], |who, _, left| {
        assert_eq!(left.code, Some(0), "{who}");
        assert!(left.report["limit"].is_null(), "{who}");
    });
}

#[test]
fn files_without_content_fill_the_disk_as_well() {
    let script =
        "import os\nfor i in range(1000000): os.close(os.open('f%d' % i, os.O_CREAT|os.O_WRONLY))";
    ends_with("disk", "disk: 32MiB", &[PYTHON, "-c", script]);
}

#[test]
fn disk_is_ended_and_named() {
    let script =
        "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=f$i bs=1M count=4 2>/dev/null; done";
    ends_with("disk", "disk: 32MiB", &["sh", "-c", script]);
}

#[test]
fn full_private_folder_is_named_where_it_is_ours() {
    let script = "import os,sys\nn=0\nwhile True:\n  n+=1\n  open(os.environ['TMPDIR']+'/f%d'%n,'wb').write(b'x'*(1<<20))";
    ends_with("disk", "disk: 48MiB", &[PYTHON, "-c", script]);
}

#[test]
fn open_files_are_bounded() {
    let script = "import os,time\nf=[]\ntry:\n  while True: f.append(os.open('/dev/null', os.O_RDONLY))\nexcept OSError: print(len(f), flush=True)\ntime.sleep(0.5); os._exit(1)";
    everywhere("", &[PYTHON, "-c", script], |who, _, left| {
        let opened: u64 = left.said.trim().parse().unwrap();
        assert!(opened < 4096, "{who}");
        // A plain caller cannot count the files of the uid that level a leases.
        if who.starts_with("a, plain") {
            assert_eq!(left.code, Some(1), "{who}");
        } else {
            assert_eq!(left.code, Some(124), "{who}");
            assert_eq!(left.report["limit"], "open-files", "{who}");
        }
    });
}

#[test]
fn pipe_in_the_workspace_stops_nobody() {
    let script = "mkfifo p .envpipe; mkdir d; mkfifo d/q; echo done";
    everywhere("", &["sh", "-c", script], |who, place, left| {
        assert_eq!(left.code, Some(0), "{who}");
        let again = place.under("b", "version: 1\n", &["true"]);
        assert_eq!(again.code, Some(0), "{who}: {again:?}");
        let again = place.under("c", "version: 1\n", &["true"]);
        assert_eq!(again.code, Some(0), "{who}: {again:?}");
    });
}
