//! Whose files are whose: the two id maps of a run (user_namespaces(7)).
//! It must never map an id onto the leased one but the caller's own.

use std::fs;
use std::io;

/// Runs of ids that the helper's own namespace knows, as first and count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known(Vec<(u32, u32)>);

impl Known {
    /// Of the calling process: `uid_map` or `gid_map`.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read(file: &str) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/self/{file}"))?;
        let row = |line: &str| {
            let mut words = line.split_ascii_whitespace().map(str::parse);
            match (words.next(), words.next(), words.next()) {
                (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) => Some((first, count)),
                _ => None,
            }
        };
        Ok(Self(text.lines().filter_map(row).collect()))
    }

    /// The map of a mount: files of `own` are shown as those of `leased`, and all others as what they are.
    #[must_use]
    pub fn owners(&self, own: u32, leased: u32) -> String {
        let mut text = format!("{own} {leased} 1\n");
        for (first, count) in &self.0 {
            // Both ids are left out: one has its line, and nothing on a disk belongs to the other.
            let mut cuts = [own, leased];
            cuts.sort_unstable();
            let end = u64::from(*first) + u64::from(*count);
            let mut start = u64::from(*first);
            for cut in cuts.map(u64::from) {
                if (start..end).contains(&cut) {
                    text.push_str(&identity(start, cut));
                    start = cut + 1;
                }
            }
            text.push_str(&identity(start, end));
        }
        text
    }
}

fn identity(start: u64, end: u64) -> String {
    if start < end {
        format!("{start} {start} {}\n", end - start)
    } else {
        String::new()
    }
}

/// The map of the run itself: one id, which it is shown as another.
#[must_use]
pub fn of_run(shown: u32, leased: u32) -> String {
    format!("{shown} {leased} 1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_id_is_shown_as_the_leased_one() {
        let whole = Known(vec![(0, u32::MAX)]);
        assert_eq!(
            whole.owners(1000, 60_600),
            "1000 60600 1\n0 0 1000\n1001 1001 59599\n60601 60601 4294906694\n"
        );
        assert_eq!(
            whole.owners(0, 60_600),
            "0 60600 1\n1 1 60599\n60601 60601 4294906694\n"
        );
        let container = Known(vec![(0, 1), (1, 65_536)]);
        assert_eq!(
            container.owners(0, 60_600),
            "0 60600 1\n1 1 60599\n60601 60601 4936\n"
        );
    }
}
