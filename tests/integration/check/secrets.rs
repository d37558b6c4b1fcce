//! Secrets: what the run knew, in every disguise and place, and credentials known by their form.

use tagout::names::Secret;

use super::*;

#[test]
fn credentials_in_added_lines_are_refused() {
    let token = format!("gh{}_{}", "p", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF2hI5");
    blocks(
        vec![edit("a.py", "x = 1\n", &format!("x = 1\nt = '{token}'\n"))],
        Code::SecretPattern,
    );
    let line = format!("t = '{token}'\n");
    passes(vec![edit("a.py", &line, &format!("{line}x = 2\n"))]);
}

#[test]
fn secret_of_the_run_is_refused_wherever_it_stands_and_is_never_repeated() {
    let secret = "q7W-e9R_t2Y+u4I/o6P=a8S";
    let secrets = [Secret::new(secret.to_owned())];
    let known = Known {
        secrets: &secrets,
        ..Known::default()
    };
    let (one, other) = secret.split_at(12);
    for changes in [
        vec![add("a.txt", format!("x\nkey={secret}\n"))],
        vec![add("a.txt", secret.chars().rev().collect::<String>())],
        vec![add("q7W-e9R_t2Y+u4I/o6P=a8S", "x\n")],
        vec![
            add("a.txt", format!("{one}\n")),
            add("b.txt", format!("{other}\n")),
        ],
        vec![link("l", secret)],
    ] {
        let result = judge(changes, &Policy::default(), known);
        let found = findings(&result);
        assert!(
            found
                .iter()
                .any(|finding| finding.code == Code::KnownSecret
                    && finding.severity == Severity::Block),
            "{found:?}"
        );
        assert!(
            !found
                .iter()
                .any(|finding| finding.to_line().contains(secret)),
            "{found:?}"
        );
    }
    let texts = [("title", "fix q7W-e9R_t2Y+u4I/o6P=a8S")];
    let known = Known {
        texts: &texts,
        ..known
    };
    let result = judge(vec![add("a", "x\n")], &Policy::default(), known);
    assert_eq!(findings(&result)[0].code, Code::KnownSecret);
    let known = Known {
        secrets: &secrets,
        ..Known::default()
    };
    assert!(judge(vec![add("a", "x\n")], &Policy::default(), known).is_ok());
}
