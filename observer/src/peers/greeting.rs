//! Reading a handshake from a connection that may be anything.

use super::handshake::{ANSWER_BYTES_MAX, Arrived, HandshakeError};
use super::hub::Greeting;
use super::wire::Incoming;

/// Reads until `decode` is content; what came behind it is handed back with it. The greeting's
/// deadline hangs the connection up, which ends the read: no read is ever given up.
pub async fn read_whole<T>(
    read: &mut Incoming,
    greeting: &Greeting,
    decode: impl Fn(&[u8]) -> Result<Arrived<T>, HandshakeError>,
) -> Result<(T, Vec<u8>), String> {
    let mut input = Vec::with_capacity(ANSWER_BYTES_MAX);
    loop {
        match decode(&input).map_err(|error| error.to_string())? {
            Arrived::Whole(whole, used) => {
                input.drain(..used);
                return Ok((whole, input));
            }
            Arrived::Needs(needed) => {
                assert!(needed <= ANSWER_BYTES_MAX, "the decoders bound what they wait for");
            }
        }
        let result;
        (result, input) = read.read(input).await;
        let over = match result {
            Ok(0) => "it hung up before the handshake was complete".to_owned(),
            Ok(_) => continue,
            Err(error) => format!("the handshake failed: {error}"),
        };
        return Err(greeting.ended().unwrap_or(over));
    }
}
