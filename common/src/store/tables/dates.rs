//! Points in time as pandas writes them to csv: `2024-02-29` where a column holds days alone, else `2024-02-29 12:30:00`,
//! all with as many digits behind the second as the finest needs (none, 3, 6 or 9).

/// Parts of a second that a unit has.
pub(super) const DAYS: i64 = 0;

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// Counts since 1970 as texts. `per_second` is 1, 1000, 10^6 or 10^9, or [`DAYS`]; `utc` says that the zone is told.
pub(super) fn texts(counts: &[i64], per_second: i64, utc: bool) -> Vec<String> {
    let unit = if per_second == DAYS { DAY } else { i128::from(1_000_000_000 / per_second) };
    let nanos = |count: &i64| i128::from(*count) * unit;
    let all = |part: i128| counts.iter().all(|count| nanos(count).rem_euclid(part) == 0);
    let digits = if all(1_000_000_000) {
        0
    } else if all(1_000_000) {
        3
    } else if all(1_000) {
        6
    } else {
        9
    };
    let days_alone = all(DAY) && !utc;
    let zone = if utc { "+00:00" } else { "" };
    let text = |count: &i64| {
        let (day, rest) = (nanos(count).div_euclid(DAY), nanos(count).rem_euclid(DAY));
        let (year, month, day) = civil(day);
        if days_alone {
            return format!("{year:04}-{month:02}-{day:02}");
        }
        let second = rest / 1_000_000_000;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let fraction = format!("{:09}", rest % 1_000_000_000);
        let point = if digits > 0 { "." } else { "" };
        let fraction = &fraction[..digits];
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}")
    };
    counts.iter().map(text).collect()
}

/// Year, month and day of a day since 1970 in the Gregorian calendar. Years are counted from March on, so that the
/// 29th of February is the last day of its year, in eras of 400 years with 146,097 days.
fn civil(day: i128) -> (i128, i128, i128) {
    let day = day + 719_468; // from 0000-03-01
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // March is 0
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i128::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_pandas() {
        assert_eq!(texts(&[0, 19_782, -1], DAYS, false), ["1970-01-01", "2024-02-29", "1969-12-31"]);
        assert_eq!(texts(&[951_782_400_000], 1000, false), ["2000-02-29"]);
        assert_eq!(texts(&[4_107_542_399], 1, false), ["2100-02-28 23:59:59"]);
        assert_eq!(
            texts(&[1_500_000, 86_400_000_000], 1_000_000, false),
            ["1970-01-01 00:00:01.500", "1970-01-02 00:00:00.000"]
        );
        assert_eq!(texts(&[-1], 1_000_000_000, false), ["1969-12-31 23:59:59.999999999"]);
        assert_eq!(texts(&[0], 1, true), ["1970-01-01 00:00:00+00:00"]);
    }

    #[test]
    fn days_follow_each_other_for_four_centuries() {
        let length = |year: i128, month: i128| match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut last = civil(-100_000);
        for day in -99_999..100_000 {
            let next = match last {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, day) if day == length(year, month) => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
            last = civil(day);
            assert_eq!(last, next);
        }
    }
}
