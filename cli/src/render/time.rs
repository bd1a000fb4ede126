//! Durations and ages for people.

use std::time::Duration;

/// A duration in few characters: `0.4s`, `12s`, `2m04s`, `1h05m`.
pub(crate) fn took(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A duration that is only expected, and so said without false precision: `1s`, `36s`, `27m`.
pub(crate) fn about(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round().max(1.0);
    let whole = Duration::from_secs_f64(seconds);
    match whole.as_secs() {
        0..60 => format!("{}s", whole.as_secs()),
        60..600 | 3600.. => took(whole),
        600..3600 => format!("{}m", whole.as_secs() / 60),
    }
}

/// How long ago something was, in words.
pub(crate) fn ago(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let shown = [0.05, 9.94, 10.0, 124.0, 3900.0].map(|s| took(Duration::from_secs_f64(s)));
        assert_eq!(shown, ["0.1s", "9.9s", "10s", "2m04s", "1h05m"]);
        let shown = [0.2, 35.6, 124.0, 2120.0].map(|s| about(Duration::from_secs_f64(s)));
        assert_eq!(shown, ["1s", "36s", "2m04s", "35m"]);
        assert_eq!(ago(Duration::from_hours(72)), "3 days ago");
    }
}
