//! Durations as kubectl's tables show them.

use time::OffsetDateTime;

use crate::kubernetes::json::parse_stamp;

/// How long ago a time of the API was, `<unknown>` if it is none.
pub(crate) fn since(stamp: &str) -> String {
    match parse_stamp(stamp) {
        Some(then) => human((OffsetDateTime::now_utc() - then).whole_seconds()),
        None => "<unknown>".to_owned(),
    }
}

/// A number of seconds with the two units that matter.
pub(crate) fn human(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |big: i64, big_unit: char, small: i64, small_unit: char| {
        if small == 0 {
            format!("{big}{big_unit}")
        } else {
            format!("{big}{big_unit}{small}{small_unit}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn ages_have_the_units_that_matter() {
        let shown: Vec<String> =
            [75, 119, 120, 158, 600, 7199, 10_800, 20_000, 100_000, 200_000, 800_000]
                .into_iter()
                .map(human)
                .collect();
        assert_eq!(
            shown,
            ["75s", "119s", "2m", "2m38s", "10m", "119m", "3h", "5h33m", "27h", "2d7h", "9d"]
        );
    }
}
