//! On a real PostgreSQL: what cannot be taken or decided stands in nobody's way.

use crate::database::{Database, database};
use event::{Body, Demographics, NhsNumber, PatientEvent, SourcePatient};
use identity::reason;
use linker::store::{self, TOGETHER_MAX};

const NUMBER: &str = "9434765919";
/// 1984-06-07.
const BORN: i32 = 5_271;

fn event(commit: u64, source: &str, id: &str, number: Option<&str>) -> PatientEvent {
    let body = Body::Demographics(Demographics {
        nhs_number: number.and_then(NhsNumber::parse),
        nhs_number_verified: number.is_some(),
        given: Some("Ann".into()),
        family: Some("Ellis".into()),
        birth_date: Some(BORN),
        ..Demographics::default()
    });
    crate::demographics(commit, SourcePatient { source: source.into(), id: id.into() }, body)
}

impl Database {
    /// Source and patient, status, reason, and whether it goes by its own id.
    async fn links(&self) -> Vec<String> {
        let client = self.pool.get().await.expect("a connection");
        let sql = "select concat_ws(' ', l.source || '/' || l.patient, l.status, l.reason, l.person = p.own)
             from identity.link l join identity.patient p using (source, patient) order by p.seen";
        client.query(sql, &[]).await.expect("read").iter().map(|row| row.get(0)).collect()
    }
}

/// Longer than an entry of an index can be, however it is packed.
fn endless() -> String {
    let mut state = 1_u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from((state >> 24) % 26).unwrap_or(0))
    };
    (0..20_000).map(letter).collect()
}

#[tokio::test]
async fn an_event_that_the_database_refuses_stands_in_nobodys_way() {
    let database = database("poison").await;
    let endless = endless();
    let events = [
        event(1, "gp", "1", Some(NUMBER)),
        event(2, "gp", "a\0b", None),
        event(3, "ed", "1", Some(NUMBER)),
        event(4, "ed", &endless, None),
        event(5, "eye", "1", None),
    ];
    let mut client = database.pool.get().await.expect("a connection");
    let (changed, refused) = store::take_each(&mut client, &events, None).await.expect("taken");
    assert_eq!(refused, [1, 3]);
    assert!(changed >= 3, "{changed}");
    let linked = |who: &str, own: &str| format!("{who} linked {} {own}", reason::AGREES);
    let alone = format!("eye/1 alone {} t", reason::NO_NUMBER);
    assert_eq!(database.links().await, [linked("gp/1", "t"), linked("ed/1", "f"), alone.clone()]);

    // Alone in its batch; and once more, as after a crash.
    for _ in 0..2 {
        assert_eq!(store::take_each(&mut client, &events[3..4], None).await.expect("taken"), (0, vec![0]));
    }
    assert_eq!(store::take_each(&mut client, &[], None).await.expect("taken"), (0, vec![]));
    assert_eq!(store::take_each(&mut client, &events[4..], None).await.expect("taken"), (0, vec![]), "nothing new");

    // What it says is mended: it is taken like any other.
    let mended = [event(6, "gp", "a b", Some(NUMBER))];
    assert_eq!(store::take_each(&mut client, &mended, None).await.expect("taken").1, [0_usize; 0]);
    drop(client);

    // Too many bear one number: nobody can look at them all. Who comes is held, and everybody else is linked.
    database.wipe().await;
    let mut client = database.pool.get().await.expect("a connection");
    let many = i64::try_from(TOGETHER_MAX).expect("few") + 1;
    client
        .execute(
            "insert into identity.patient (source, patient, own, position, revision, nhs_number, number_now, verified,
               birth_date, withdrawn, described)
             select 'many', n::text, gen_random_uuid(), '1', 1, $1, $1, true, date '1984-06-07', false, true
             from generate_series(1, $2::int8) as n",
            &[&NUMBER, &many],
        )
        .await
        .expect("written");
    let events = [event(1, "gp", "1", Some(NUMBER)), event(2, "eye", "1", None), event(3, "ed", "1", Some(NUMBER))];
    let (changed, refused) = store::take_each(&mut client, &events, None).await.expect("taken");
    assert_eq!((changed, refused), (3, vec![]));
    let held = |who: &str| format!("{who} held {} t", reason::TOO_MANY_TOGETHER);
    assert_eq!(database.links().await, [held("gp/1"), alone.clone(), held("ed/1")]);
    // Whoever is touched and has no link is held, once; who has one keeps it.
    let again = [event(4, "gp", "1", Some(NUMBER))];
    let all = usize::try_from(many).expect("few");
    assert_eq!(store::take_each(&mut client, &again, None).await.expect("taken"), (all, vec![]));
    let again = [event(5, "gp", "1", Some(NUMBER))];
    assert_eq!(store::take_each(&mut client, &again, None).await.expect("taken"), (0, vec![]));

    // Once there are fewer, all of them are looked at: still more than one person can be, and each is told so.
    let rest = "source = 'many' and patient::int8 > 300";
    let gone = format!("delete from identity.link where {rest}; delete from identity.patient where {rest}");
    client.batch_execute(&gone).await.expect("gone");
    let (changed, _) = store::take_each(&mut client, &[event(6, "gp", "1", Some(NUMBER))], None).await.expect("taken");
    assert_eq!(changed, 302);
    let links = database.links().await;
    assert!(links.contains(&format!("gp/1 held {} t", reason::TOO_MANY)), "{:?}", links.last());
}
