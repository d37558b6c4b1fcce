//! DNS messages over TCP are answered alike however they are cut, no more waits than may, and no answer asks back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagout::sandbox::resolver::stream::{Stream, WAITING_BYTES_MAX};
use tagout::sandbox::resolver::{Resolver, Road};

fn answers(road: Road, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut resolver = Resolver::new(road);
    let mut stream = Stream::default();
    for piece in pieces {
        stream.take(piece, &mut resolver).ok()?;
        assert!(stream.waiting().len() <= WAITING_BYTES_MAX);
    }
    // What was refused is told as text.
    assert!(serde_json::to_vec(&resolver.denied()).is_ok());
    Some(stream.waiting().to_vec())
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (front, back) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    for road in [Road::Egress, Road::None] {
        assert_eq!(answers(road, &[bytes]), answers(road, &[front, back]));
        if let Some(answer) = Resolver::new(road).answer(bytes) {
            // An answer is marked as one (RFC 1035, 4.1.1), so that two resolvers never talk for ever.
            assert!(answer.message[2] & 0x80 != 0);
            assert!(Resolver::new(road).answer(&answer.message).is_none());
        }
    }
});
