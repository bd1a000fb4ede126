use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "pässwörd/+ \"of\" the\\vault";

fn knowing(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::default();
    for secret in secrets {
        redactor.learn(&Value::String((*secret).to_owned()));
    }
    redactor
}

#[test]
fn every_form_of_a_secret_is_covered() {
    let redactor = knowing(&[SECRET]);
    let json = Value::String(SECRET.to_owned()).to_string();
    let forms = [
        SECRET.to_owned(),
        base16ct::lower::encode_string(SECRET.as_bytes()),
        base16ct::upper::encode_string(SECRET.as_bytes()),
        // As `quote(safe="")`, `quote` and `quote_plus` of Python write it, and as
        // `encodeURIComponent` and a lower case one do.
        "p%C3%A4ssw%C3%B6rd%2F%2B%20%22of%22%20the%5Cvault".to_owned(),
        "p%C3%A4ssw%C3%B6rd/%2B%20%22of%22%20the%5Cvault".to_owned(),
        "p%C3%A4ssw%C3%B6rd%2F%2B+%22of%22+the%5Cvault".to_owned(),
        "p%c3%a4ssw%c3%b6rd%2f%2b%20%22of%22%20the%5cvault".to_owned(),
        json[1..json.len() - 1].to_owned(),
    ];
    for form in forms {
        assert_eq!(redactor.redact(&format!("a {form} b")), "a *** b");
    }
    for before in ["", "x", "xy"] {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(format!("{before}{SECRET}after"));
            let clear = redactor.redact(&text);
            // At each end, one character may mix with what is next to it.
            assert!(clear.contains(COVER) && clear.len() <= text.len() - SECRET.len(), "{clear}");
        }
    }
}

#[test]
fn a_key_of_many_lines_is_covered_line_by_line() {
    let line = "MC4CAQAwBQYDK2VwBCIEIGZsb3c";
    let redactor = knowing(&[&format!("-----BEGIN-----\n{line}\nshort\n-----END-----\n")]);
    assert_eq!(redactor.redact(&format!("> {line}")), "> ***");
    assert_eq!(redactor.redact("short"), "short");
}

/// A text in lines of so many characters.
fn wrapped(text: &str, width: usize, end: &str) -> String {
    let lines: Vec<&str> =
        text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(end)
}

#[test]
fn a_secret_in_wrapped_base64_is_covered_wherever_the_lines_end() {
    let long = "canary-".repeat(30);
    for secret in ["canary-canary-canary", &long] {
        let redactor = knowing(&[secret]);
        for before in 0..60 {
            let text = STANDARD.encode(format!("{}{secret} and after", "x".repeat(before)));
            let straight = redactor.redact(&text);
            for (width, end) in [(76, "\n"), (64, "\r\n"), (76, "\n    "), (76, "\\n")] {
                let clear = redactor.redact(&wrapped(&text, width, end));
                let joined: String = clear.split(end).collect();
                assert_eq!(joined, straight, "{before} bytes before, {width} wide");
            }
        }
    }
    let redactor = knowing(&["abcdefgh"]);
    assert_eq!(redactor.redact("abcd\n\nefgh"), "abcd\n\nefgh", "an empty line wraps nothing");
}

#[test]
fn what_is_said_openly_is_found_only_within_other_text() {
    let redactor = knowing(&["cluster-id-1", "hunter2-hunter2"]);
    let open = BTreeSet::from(["cluster-id-1"]);
    let finds = |value: Value| redactor.finds_in(&value, &open);
    assert!(!finds(serde_json::json!({ "id": "cluster-id-1" })));
    for value in ["a cluster-id-1", "hunter2-hunter2"] {
        assert!(finds(serde_json::json!([value])) && finds(serde_json::json!({ value: 1 })));
    }
}

#[test]
fn what_is_too_short_is_no_secret() {
    let redactor = knowing(&["yes"]);
    assert_eq!(redactor.redact("yes, yes"), "yes, yes");
}

#[test]
fn secrets_inside_of_values_are_learnt_and_covered() {
    let redactor = Redactor::default();
    redactor.learn(&serde_json::json!({ "a": ["hunter2-hunter2"], "n": 12_345_678 }));
    let covered = redactor.redact_value(&serde_json::json!({ "x": "=hunter2-hunter2=", "n": 1 }));
    assert_eq!(covered, serde_json::json!({ "x": "=***=", "n": 1 }));
}

proptest! {
    #[test]
    fn chunks_make_no_difference(
        parts in prop::collection::vec(("[a-z \n\r\\\\]{0,9}", 0..3), 0..12),
        cuts in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let secrets = ["canary-canary", "canary-canary-and-more", "aaaaaaaaaaaa"];
        let redactor = knowing(&secrets);
        let text: String = parts
            .iter()
            .enumerate()
            .map(|(i, (word, sort))| match sort {
                0 => word.clone(),
                1 => secrets[i % 3].to_owned(),
                _ => wrapped(secrets[i % 3], 5, "\r\n "),
            })
            .collect();
        let mut stream = Stream::default();
        let mut clear = Vec::new();
        let mut rest = text.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, more) = rest.split_at((*cut).min(rest.len()));
            clear.extend(stream.push(&redactor, chunk));
            rest = more;
        }
        clear.extend(stream.finish(&redactor));
        let clear = String::from_utf8(clear).unwrap();
        prop_assert_eq!(&clear, &redactor.redact(&text));
        for secret in secrets {
            prop_assert!(!clear.contains(secret));
        }
    }
}

#[test]
fn a_certificate_beside_its_key_stays_legible() {
    let redactor = Redactor::default();
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIBpublicpublicpublicpublic\n\
                       -----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEsecretsecretsecretsecret\n\
               -----END PRIVATE KEY-----\n";
    redactor.learn(&serde_json::json!([{ "certificate": certificate, "key": key }]));
    redactor.learn(&serde_json::json!(format!("ca: |\n{certificate}key: |\n{key}")));
    assert_eq!(redactor.redact(certificate), certificate);
    assert!(!redactor.redact(key).contains("secret"));
}
