//! When a cron line comes due, as GitHub Actions reads it: five fields, UTC.
//! It must never read a clock: whoever asks names the times.

/// Minutes of the longest span that is looked at: 31 days.
pub const SPAN_MINUTES_MAX: u64 = 31 * 24 * 60;

/// A cron line, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether day of month and day of week are both given: then either will do (POSIX, crontab).
    either: bool,
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    /// Reads a line; none where GitHub would not take it.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return None;
        };
        Some(Self {
            minutes: set(minutes, 0, 59, &[])?,
            hours: set(hours, 0, 23, &[])?,
            days: set(days, 1, 31, &[])?,
            months: set(months, 1, 12, &MONTHS)?,
            weekdays: set(weekdays, 0, 6, &WEEKDAYS)?,
            either: !days.starts_with('*') && !weekdays.starts_with('*'),
        })
    }

    /// Whether it comes due after one time and not after another, in seconds since 1970. Of a longer span than
    /// `SPAN_MINUTES_MAX` only the end is looked at.
    #[must_use]
    pub fn is_due(&self, after_s: u64, until_s: u64) -> bool {
        let last = until_s / 60;
        let first = (after_s / 60 + 1).max(last.saturating_sub(SPAN_MINUTES_MAX));
        (first..=last).any(|minute| self.matches(minute))
    }

    fn matches(&self, minute: u64) -> bool {
        let has = |set: u64, value: u64| set >> value & 1 == 1;
        let (day_number, in_day) = (minute / (24 * 60), minute % (24 * 60));
        let (_, month, day) = date(day_number);
        // 1 January 1970 was a Thursday.
        let weekday = has(self.weekdays, (day_number + 4) % 7);
        let month_day = has(self.days, day);
        let on_day = if self.either {
            weekday || month_day
        } else {
            weekday && month_day
        };
        on_day
            && has(self.months, month)
            && has(self.hours, in_day / 60)
            && has(self.minutes, in_day % 60)
    }
}

/// The values of a field as bits: lists of values, ranges and steps.
fn set(field: &str, low: u64, high: u64, names: &[&str]) -> Option<u64> {
    let value = |text: &str| {
        let name = names
            .iter()
            .position(|name| text.eq_ignore_ascii_case(name));
        let found = match name {
            Some(at) => low + at as u64,
            None => text.parse().ok()?,
        };
        (low..=high).contains(&found).then_some(found)
    };
    let mut bits = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|it| *it > 0)?),
            None => (part, 1),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (low, high),
            (_, Some((from, to))) => (value(from)?, value(to)?),
            (one, None) if part.contains('/') => (value(one)?, high),
            (one, None) => (value(one)?, value(one)?),
        };
        if from > to {
            return None;
        }
        for found in (from..=to).step_by(step) {
            bits |= 1 << found;
        }
    }
    Some(bits)
}

/// Year, month and day of a day counted from 1 January 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(day_number: u64) -> (u64, u64, u64) {
    let shifted = day_number + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Seconds since 1970 of a time written as `2026-01-31T10:20:30Z`; none for any other writing and for days that no month has.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let shape = b"0000-00-00T00:00:00Z";
    let fits = text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days up to the year are near; the month is found by counting.
    let start = (year - 1970) * 365;
    let day_number = (start..start + 800).find(|number| date(*number) == (year, month, day))?;
    Some(((day_number * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(line: &str, after: &str, until: &str) -> bool {
        let at = |text| seconds(text).expect("a time");
        Cron::read(line)
            .expect("a cron line")
            .is_due(at(after), at(until))
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2026-11-21T23:31:26Z"), Some(1_795_303_886));
        assert_eq!(seconds("2028-02-29T00:00:00Z"), Some(1_835_395_200));
        for wrong in [
            "2026-02-29T00:00:00Z",
            "2026-01-01",
            "2026-01-01T24:00:00Z",
            "",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn line_is_due_once_in_the_span_that_holds_it() {
        // 23 November 2026 is a Monday.
        let line = "17 4 * * 1";
        assert!(due(line, "2026-11-23T04:00:00Z", "2026-11-23T05:00:00Z"));
        assert!(due(line, "2026-11-23T04:16:59Z", "2026-11-23T04:17:00Z"));
        assert!(!due(line, "2026-11-23T04:17:00Z", "2026-11-23T05:00:00Z"));
        assert!(!due(line, "2026-11-24T04:00:00Z", "2026-11-24T05:00:00Z"));
        assert!(!due(line, "2026-11-23T04:00:00Z", "2026-11-23T04:16:59Z"));
    }

    #[test]
    fn lists_ranges_steps_and_names_are_read() {
        for line in [
            "*/15 0-6,22 1,15 JAN-MAR *",
            "0 0 * * mon-fri",
            "5/20 * * * *",
        ] {
            assert!(Cron::read(line).is_some(), "{line}");
        }
        assert!(due(
            "5/20 * * * *",
            "2026-11-23T04:44:00Z",
            "2026-11-23T04:45:00Z"
        ));
        for wrong in [
            "",
            "* * * *",
            "60 * * * *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
        ] {
            assert_eq!(Cron::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn day_of_month_or_day_of_week_will_do_where_both_are_given() {
        let line = "0 0 13 * 5";
        assert!(
            due(line, "2026-11-12T23:59:00Z", "2026-11-13T00:00:00Z"),
            "both"
        );
        assert!(
            due(line, "2026-11-19T23:59:00Z", "2026-11-20T00:00:00Z"),
            "a Friday"
        );
        assert!(
            due(line, "2026-12-12T23:59:00Z", "2026-12-13T00:00:00Z"),
            "the 13th"
        );
        assert!(!due(line, "2026-12-13T23:59:00Z", "2026-12-14T00:00:00Z"));
    }
}
