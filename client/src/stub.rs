//! A server for unit tests: takes every session, and answers with a code alone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::{begin_frame, end_frame};
use farwatch_core::wire::{ConnectResponse, ErrorCode, OpCode, ReplyHeader};
use farwatch_core::zxid::SessionId;

/// Connections to a server that says `answer` to each request, and nothing more.
pub(crate) fn server(
    answer: impl Fn(OpCode) -> ErrorCode + Clone + Send + Sync + 'static,
) -> impl Fn() -> std::io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    move || {
        let ours = TcpStream::connect(listener.local_addr()?)?;
        let (theirs, _from) = listener.accept()?;
        let answer = answer.clone();
        std::thread::spawn(move || serve(&theirs, answer));
        Ok(ours)
    }
}

/// Serves a connection, until it ends.
pub(crate) fn serve(mut stream: &TcpStream, answer: impl Fn(OpCode) -> ErrorCode) {
    let mut is_handshake = true;
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        let number = |at| i32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"));
        let mut reply = Vec::new();
        if std::mem::take(&mut is_handshake) {
            let start = begin_frame(&mut reply);
            let (session, password, read_only) = (SessionId(7), Password([7; 16]), Some(false));
            let timeout_ms = number(12);
            ConnectResponse { timeout_ms, session, password, read_only }.encode(&mut reply);
            end_frame(&mut reply, start);
        } else {
            let err = OpCode::from_code(number(4)).map_or(ErrorCode::Ok, &answer);
            ReplyHeader::encode_frame(number(0), 1, err, &mut reply);
        }
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}
