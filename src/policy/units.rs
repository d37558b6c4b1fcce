//! Sizes and durations, which always carry a unit: a bare number is read as bytes by one and as mebibytes by another.
//! It must never round.

use std::time::Duration;

/// Units of sizes, the largest first.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
/// Units of durations in seconds, the largest first.
const DURATIONS: &[(&str, u64)] = &[("h", 3600), ("m", 60), ("s", 1)];

/// The bytes of a size such as `4GiB`; nothing where it is not one.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    scaled(text, SIZES)
}

/// The time of a duration such as `20m`; nothing where it is not one.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    scaled(text, DURATIONS).map(Duration::from_secs)
}

/// A size in the largest unit that divides it.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    text(bytes, SIZES)
}

/// A duration in the largest unit that divides it; below a second nothing is left.
#[must_use]
pub fn duration_text(time: Duration) -> String {
    text(time.as_secs(), DURATIONS)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at_checked(end)?;
    let padded = digits.len() > 1 && digits.starts_with('0');
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let number: u64 = digits.parse().ok()?;
    if padded {
        None
    } else {
        number.checked_mul(*scale)
    }
}

fn text(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |scale: &u64| value != 0 && value.is_multiple_of(*scale);
    units
        .iter()
        .find(|(_, scale)| fits(scale))
        .or(units.last())
        .map_or_else(String::new, |(unit, scale)| {
            format!("{}{unit}", value / scale)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_carry_units() {
        assert_eq!(size("4GiB"), Some(4 << 30));
        assert_eq!(size("2KiB"), Some(2048));
        assert_eq!(size("0B"), Some(0));
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        for text in [
            "4",
            "4 GiB",
            "4GB",
            "4gib",
            "GiB",
            "-1GiB",
            "1.5GiB",
            "04GiB",
            "+4GiB",
            "99999999999TiB",
            "4 bananas",
            "",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
        for text in ["20", "20 m", "20min", "1h30m", "m", "1d", "-1s", "٣s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, 3 << 30, (1 << 20) + 1] {
            assert_eq!(size(&size_text(bytes)), Some(bytes));
        }
        for seconds in [0, 1, 59, 60, 90, 3600, 5400] {
            let time = Duration::from_secs(seconds);
            assert_eq!(duration(&duration_text(time)), Some(time));
        }
        assert_eq!(size_text(4 << 30), "4GiB");
        assert_eq!(duration_text(Duration::from_secs(1200)), "20m");
    }
}
