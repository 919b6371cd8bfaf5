//! A company goes through barriers of a real ensemble and leaves none behind.

use anyhow::Result;
use farwatch_bench::load::barriers::Company;
use farwatch_bench::raw::{Connection, Handshake, request};
use farwatch_bench::subject::{Ensemble, Options, built_binary};

#[test]
fn all_clients_pass_every_barrier_together_and_leave_nothing() -> Result<()> {
    let ensemble = Ensemble::farwatch(built_binary()?, 3, &Options::new())?;
    let mut company = Company::gather(&ensemble.addresses(), 7)?;
    company.pass(2)?;
    company.pass(3)?;
    let leader = ensemble.address(ensemble.leader()?);
    let (mut connection, _) = Connection::connect(leader, &Handshake::default())?;
    let reply = connection.call(&request::get_children2("/barriers", false))?;
    let (left, stat) = reply.names_and_stat()?;
    // Five came and went; a barrier with somebody inside could not have been deleted.
    assert_eq!((left, stat.cversion), (Vec::new(), 10));
    Ok(())
}
