use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::stream::{Close, Stream, WAITING_BYTES_MAX};
use super::{ADDRESS, NAMES_MAX, REFUSED_MAX, Resolver, Road};

const A: u16 = 1;
const AAAA: u16 = 28;

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

fn ask(resolver: &mut Resolver, query: &[u8]) -> (u8, Option<Ipv4Addr>) {
    let message = resolver.answer(query).unwrap().message;
    assert_eq!(message[..2], query[..2], "the id is kept");
    assert_eq!(message[2] & 0x80, 0x80, "it is an answer");
    let address = (message[7] == 1).then(|| {
        let last: [u8; 4] = message[message.len() - 4..].try_into().unwrap();
        Ipv4Addr::from(last)
    });
    (message[3] & 0x0F, address)
}

#[test]
fn name_gets_one_address_and_is_found_again() {
    let mut resolver = Resolver::new(Road::Egress);
    let (code, address) = ask(&mut resolver, &question("API.Example.com", A));
    assert_eq!(code, 0);
    let address = address.unwrap();
    assert!(Resolver::owns(address) && address != ADDRESS);
    assert_eq!(resolver.name(address), Some("api.example.com"));
    let again = resolver.answer(&question("api.example.com", A)).unwrap();
    assert_eq!(again.new, None);
    assert_eq!(
        ask(&mut resolver, &question("api.example.com", A)).1,
        Some(address)
    );
    assert_ne!(
        ask(&mut resolver, &question("example.com", A)).1,
        Some(address)
    );
    assert!(resolver.denied().is_empty());
}

#[test]
fn first_answer_names_the_new_address() {
    let mut resolver = Resolver::new(Road::Egress);
    let answer = resolver.answer(&question("a.test", A)).unwrap();
    assert_eq!(answer.new, Some(Ipv4Addr::new(198, 18, 0, 2)));
    assert_eq!(
        answer.message[answer.message.len() - 10..][..4],
        [0, 0, 0, 1]
    );
}

#[test]
fn other_types_have_no_data_and_take_no_address() {
    let mut resolver = Resolver::new(Road::Egress);
    for kind in [AAAA, 16, 65, 255] {
        assert_eq!(ask(&mut resolver, &question("a.test", kind)), (0, None));
    }
    assert_eq!(resolver.addresses.len(), 0);
}

#[test]
fn names_that_are_none_do_not_exist() {
    let mut resolver = Resolver::new(Road::Egress);
    let long = format!("{}.test", vec!["a".repeat(63); 4].join("."));
    for name in [
        "",
        "_dmarc.a.test",
        "-a.test",
        "a-.test",
        "a b.test",
        "10.0.0.1",
        "a.1",
        "\u{e9}.test",
        &long,
    ] {
        let (code, address) = ask(&mut resolver, &question(name, A));
        assert!(code != 0 && address.is_none(), "{name:?} got {code}");
    }
    assert_eq!(resolver.addresses.len(), 0);
}

#[test]
fn localhost_is_the_own_machine() {
    for road in [Road::Egress, Road::None] {
        let mut resolver = Resolver::new(road);
        let got = ask(&mut resolver, &question("db.localhost", A));
        assert_eq!(got, (0, Some(Ipv4Addr::LOCALHOST)));
        assert!(resolver.denied().is_empty());
    }
}

#[test]
fn without_a_road_no_name_exists_and_each_is_counted() {
    let mut resolver = Resolver::new(Road::None);
    assert_eq!(ask(&mut resolver, &question("a.test", A)), (3, None));
    assert_eq!(ask(&mut resolver, &question("a.test", AAAA)), (3, None));
    let denied = resolver.denied();
    assert_eq!(
        (denied[0].what.as_str(), denied[0].count),
        ("resolve a.test", 2)
    );
    for number in 0..REFUSED_MAX + 5 {
        ask(&mut resolver, &question(&format!("n{number}.test"), A));
    }
    let denied = resolver.denied();
    assert_eq!(denied.len(), REFUSED_MAX + 1);
    assert_eq!(denied.last().unwrap().count, 6);
}

#[test]
fn full_table_refuses_new_names_and_keeps_old_ones() {
    let mut resolver = Resolver::new(Road::Egress);
    for number in 0..NAMES_MAX {
        assert_eq!(
            ask(&mut resolver, &question(&format!("n{number}.test"), A)).0,
            0
        );
    }
    assert_eq!(ask(&mut resolver, &question("late.test", A)), (5, None));
    assert_eq!(ask(&mut resolver, &question("n7.test", A)).0, 0);
    assert_eq!(resolver.denied()[0].what, "resolve late.test");
}

#[test]
fn malformed_messages_are_told_or_dropped() {
    let mut resolver = Resolver::new(Road::Egress);
    let good = question("a.test", A);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert!(resolver.answer(&good[..11]).is_none());
    assert!(resolver.answer(&with(2, 0x81)).is_none(), "an answer");
    assert_eq!(ask(&mut resolver, &with(2, 0x28)).0, 4, "an update");
    assert_eq!(ask(&mut resolver, &with(5, 2)).0, 1, "two questions");
    assert_eq!(ask(&mut resolver, &with(7, 1)).0, 1, "an answer beside it");
    assert_eq!(ask(&mut resolver, &with(12, 0xC0)).0, 1, "a pointer");
    assert_eq!(ask(&mut resolver, &good[..good.len() - 1]).0, 1, "cut");
    assert_eq!(
        ask(&mut resolver, &with(good.len() - 1, 3)).0,
        5,
        "class chaos"
    );
}

#[test]
fn edns_beside_the_question_is_passed_over() {
    let mut resolver = Resolver::new(Road::Egress);
    let mut query = question("a.test", A);
    query[11] = 1;
    query.extend([0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ask(&mut resolver, &query).0, 0);
}

#[test]
fn stream_answers_messages_however_they_are_cut() {
    let mut bytes = Vec::new();
    for name in ["a.test", "b.test"] {
        let query = question(name, A);
        bytes.extend(u16::try_from(query.len()).unwrap().to_be_bytes());
        bytes.extend(query);
    }
    let mut whole = Stream::default();
    whole
        .take(&bytes, &mut Resolver::new(Road::Egress))
        .unwrap();
    let mut resolver = Resolver::new(Road::Egress);
    let mut cut = Stream::default();
    for byte in &bytes {
        cut.take(&[*byte], &mut resolver).unwrap();
    }
    assert_eq!(whole.waiting(), cut.waiting());
    let length = cut.waiting().len();
    cut.sent(length - 3);
    assert_eq!(cut.waiting().len(), 3);
}

#[test]
fn stream_is_closed_on_too_much() {
    let mut resolver = Resolver::new(Road::Egress);
    let mut stream = Stream::default();
    assert_eq!(stream.take(&[0xFF, 0xFF], &mut resolver), Err(Close));
    let query = question("a.test", A);
    let mut message = u16::try_from(query.len()).unwrap().to_be_bytes().to_vec();
    message.extend(query);
    let mut stream = Stream::default();
    let most = WAITING_BYTES_MAX / message.len() + 1;
    let closed = (0..most).any(|_| stream.take(&message, &mut resolver).is_err());
    assert!(closed && stream.waiting().len() <= WAITING_BYTES_MAX);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), none in any::<bool>()) {
        let mut resolver = Resolver::new(if none { Road::None } else { Road::Egress });
        if let Some(answer) = resolver.answer(&bytes) {
            prop_assert!(answer.message.len() >= 12 && answer.message.len() <= bytes.len() + 16);
        }
        let mut stream = Stream::default();
        if stream.take(&bytes, &mut resolver).is_ok() {
            prop_assert!(stream.waiting().len() <= WAITING_BYTES_MAX);
        }
    }

    #[test]
    fn arbitrary_names_are_answered_with_a_valid_name_or_none(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..6)) {
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in &labels {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label);
        }
        query.extend([0, 0, 1, 0, 1]);
        let mut resolver = Resolver::new(Road::Egress);
        if let Some(address) = resolver.answer(&query).and_then(|answer| answer.new) {
            let name = resolver.name(address).unwrap();
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)));
        }
    }
}
