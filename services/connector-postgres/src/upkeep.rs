//! Keeps the publication as the settings want it, as far as this role may and as far as the source takes no harm.
//!
//! # Why
//! PostgreSQL refuses the updates and deletes of a published table whose old rows cannot be named (no usable replica
//! identity). Whoever works on that table would meet the error, so the connector never publishes such a table: it says
//! what there is to choose from. The same holds for what this role may not do. The rest of the source goes on meanwhile.

use crate::{
    error::{ConnectorError, Doing},
    settings::Settings,
    setup::role_of,
    status::Status,
};
use serde::Serialize;
use std::collections::BTreeSet;
use tokio_postgres::{Client, error::SqlState};

/// Something that the source's administrator, or a table's owner, decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Advice {
    /// As SQL names it; the publication where it is about that.
    pub about: String,
    pub why: String,
    /// What to run; where there are several, one of them.
    pub sql: Vec<String>,
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.about, self.why)?;
        if self.sql.is_empty() { Ok(()) } else { write!(f, ": `{}`", self.sql.join("` or `")) }
    }
}

/// A wanted table. The names in it are quoted as SQL wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) schema: String,
    pub(crate) published: bool,
    /// As [`crate::catalogue::Member::since`], of its partitions too; which partitions it has; and what changes with rows
    /// that are written anew.
    pub(crate) since: String,
    /// Its tables (its partitions, or itself) whose old rows cannot be named.
    pub(crate) nameless: Vec<String>,
    /// An index that could name them.
    pub(crate) candidate: Option<String>,
    /// This role is, or belongs to, its owner.
    pub(crate) owned: bool,
    pub(crate) readable: bool,
    /// Row-level security hides rows from this role.
    pub(crate) hidden: bool,
    /// It has row-level security, whoever asks.
    pub(crate) secured: bool,
}

/// The publication, if it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) owned: bool,
    /// It publishes inserts, updates, deletes and truncations.
    pub(crate) whole: bool,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) publication: Option<Publication>,
    pub(crate) tables: Vec<Table>,
}

impl Seen {
    /// What this role may publish without harm.
    pub(crate) fn addable(&self) -> Vec<&str> {
        let may = self.publication.is_none_or(|publication| publication.owned);
        let table = |table: &&Table| may && !table.published && table.owned && table.nameless.is_empty();
        self.tables.iter().filter(table).map(|table| table.name.as_str()).collect()
    }

    /// What is published, and since when; or would be at the next start.
    pub(crate) fn captured(&self) -> BTreeSet<String> {
        let published = self.tables.iter().filter(|table| table.published);
        let published = published.map(|table| {
            let unread = if table.readable && !table.hidden { "" } else { ", not readable" };
            format!("{} since {}{unread}", table.name, table.since)
        });
        published.chain(self.addable().into_iter().map(str::to_owned)).collect()
    }

    /// What others have to decide.
    pub(crate) fn advice(&self, publication: &str, role: &str) -> Vec<Advice> {
        let mut advice = Vec::new();
        let mut say =
            |about: &str, why: String, sql: Vec<String>| advice.push(Advice { about: about.into(), why, sql });
        if self.publication.is_some_and(|publication| !publication.whole) {
            let sql = format!("alter publication {publication} set (publish = 'insert, update, delete, truncate')");
            say(publication, "leaves some kinds of changes out, so the log does, too".into(), vec![sql]);
        }
        let addable = self.addable();
        for table in &self.tables {
            let name = &table.name;
            if !table.nameless.is_empty() && !table.published {
                let why = "is not captured: it has no usable replica identity, and once it is published PostgreSQL refuses \
                           its updates and deletes. The connector does not publish it as it is; after one of these it does \
                           if it may";
                say(name, why.into(), table.identities());
            } else if !table.nameless.is_empty() {
                let why = "is published without a usable replica identity: PostgreSQL refuses its updates and deletes, and \
                           its rows have no key in the log";
                say(name, why.into(), table.identities());
            } else if !table.published && !addable.contains(&name.as_str()) {
                let why =
                    format!("is not captured: it is not in publication {publication}, and role {role} may not add it");
                say(name, why, vec![format!("alter publication {publication} add table {name}")]);
            }
            if table.published && !table.readable {
                let why = format!("is captured from here on, but role {role} may not read the rows that it has");
                say(
                    name,
                    why,
                    vec![format!(
                        "grant usage on schema {0} to {role}; grant select on {name} to {role}",
                        table.schema
                    )],
                );
            }
            if table.published && table.hidden {
                let why = format!(
                    "has row-level security, which hides rows from role {role}: no snapshot reads it like that"
                );
                say(name, why, vec![format!("alter role {role} bypassrls")]);
            }
        }
        advice
    }
}

impl Table {
    /// The ways to name its old rows.
    pub(crate) fn identities(&self) -> Vec<String> {
        let mut ways = Vec::new();
        if self.nameless == [self.name.clone()] {
            ways.push(format!("alter table {} add primary key (…)", self.name));
            ways.extend(
                self.candidate.iter().map(|i| format!("alter table {} replica identity using index {i}", self.name)),
            );
        }
        let full = self.nameless.iter().map(|name| format!("alter table {name} replica identity full"));
        ways.push(full.collect::<Vec<_>>().join("; "));
        ways
    }
}

/// Of table `c`: itself or its partitions, as far as their old rows cannot be named. A partition's row is told as its
/// root's, so the root's own index has to name it, too.
macro_rules! nameless {
    () => {
        "array(select quote_ident(s.nspname) || '.' || quote_ident(l.relname)
                 from (select c.oid as relid where c.relkind = 'r'
                       union all select t.relid from pg_partition_tree(c.oid) t where c.relkind = 'p' and t.isleaf) m
                 join pg_class l on l.oid = m.relid and l.relkind = 'r'
                 join pg_namespace s on s.oid = l.relnamespace
                 where l.relreplident <> 'f' and not exists (
                     select from pg_index i where i.indrelid = l.oid and i.indisvalid and i.indimmediate
                     and case l.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
                     and (c.relkind = 'r' or exists (
                         select from pg_index o where o.indrelid = c.oid and o.indisvalid and o.indimmediate and
                         case c.relreplident when 'd' then o.indisprimary when 'i' then o.indisreplident else false end)))
                 order by 1)"
    };
}
pub(crate) const NAMELESS: &str = nameless!();

/// Tables that can be published and are wanted, and whether they are published already: a partitioned one by itself or
/// by its partitions.
const WANTED: &str = concat!(
    "
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name, quote_ident(n.nspname) as schema,
           p.tablename is not null or c.relkind = 'p' and exists (
               select from pg_partition_tree(c.oid) t
               join pg_class l on l.oid = t.relid
               join pg_namespace s on s.oid = l.relnamespace
               join pg_publication_tables q
                   on q.pubname = $1 and q.schemaname = s.nspname and q.tablename = l.relname) as published,
           c.oid::text || coalesce('.' || (
               select max(r.oid::bigint)::text from pg_publication_rel r join pg_publication b on b.oid = r.prpubid
               where b.pubname = $1
               and r.prrelid in (select c.oid union all select relid::oid from pg_partition_tree(c.oid))), '')
           || case when c.relkind = 'p' then '.' || coalesce((
               select md5(string_agg(concat_ws(':', i.inhrelid::oid, i.xmin, l.relfilenode, l.relnatts), ','
                                     order by i.inhrelid))
               from pg_partition_tree(c.oid) t join pg_inherits i on i.inhrelid = t.relid
               join pg_class l on l.oid = t.relid), '') else '' end
           || '.' || coalesce((
               select md5(string_agg(concat_ws(':', a.attnum, a.xmin, (
                   select string_agg(e.enumlabel, ',' order by e.oid) from pg_enum e
                   where e.enumtypid in (y.oid, y.typelem))), ',' order by a.attnum))
               from pg_attribute a left join pg_type y on y.oid = a.atttypid
               where a.attrelid = c.oid and a.attnum > 0), '') as since,
           has_table_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage') as readable,
           pg_has_role(c.relowner, 'usage') as owned, row_security_active(c.oid) as hidden, c.relrowsecurity as secured,
           ",
    nameless!(),
    " as nameless,
           (select quote_ident(x.relname) from pg_index i join pg_class x on x.oid = i.indexrelid
            where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
              and i.indexprs is null and not exists (
                  select from pg_attribute a
                  where a.attrelid = c.oid and a.attnum = any (i.indkey) and not a.attnotnull)
            order by 1 limit 1) as candidate
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_publication_tables p
        on p.pubname = $1 and p.schemaname = n.nspname and p.tablename = c.relname
    where c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and (n.nspname || '.' || c.relname) ~ $2
    order by 1"
);

const PUBLICATION: &str = "
    select pg_has_role(pubowner, 'usage') as owned, pubinsert and pubupdate and pubdelete and pubtruncate as whole
    from pg_publication where pubname = $1";

pub(crate) async fn look(client: &Client, settings: &Settings) -> Result<Seen, ConnectorError> {
    let publication = settings.publication();
    let found = client.query_opt(PUBLICATION, &[&publication]).await.doing("looking for the publication")?;
    let found = found.map(|row| Publication { owned: row.get("owned"), whole: row.get("whole") });
    let rows = client.query(WANTED, &[&publication, &settings.tables_pattern()]).await.doing("listing tables")?;
    let tables = rows.iter().map(|row| Table {
        name: row.get("name"),
        schema: row.get("schema"),
        published: row.get("published"),
        since: row.get("since"),
        nameless: row.get("nameless"),
        candidate: row.get("candidate"),
        owned: row.get("owned"),
        readable: row.get("readable"),
        hidden: row.get("hidden"),
        secured: row.get("secured"),
    });
    Ok(Seen { publication: found, tables: tables.collect() })
}

/// From 18, stored generated columns can be streamed.
const GENERATED: &str = "select case when current_setting('server_version_num')::integer >= 180000
    then ', publish_generated_columns = stored' else '' end";

/// How a publication of ours is made.
pub(crate) async fn options(client: &Client) -> Result<String, ConnectorError> {
    let generated = client.query_one(GENERATED, &[]).await.doing("reading the server's version")?;
    Ok(format!("publish_via_partition_root = true{}", generated.get::<_, String>(0)))
}

/// Makes the publication, or adds the tables that it lacks, and says what is left to others.
/// Returns what is captured.
pub(crate) async fn ensure(
    client: &Client,
    settings: &Settings,
    status: &Status,
) -> Result<BTreeSet<String>, ConnectorError> {
    let publication = settings.publication();
    let seen = look(client, settings).await?;
    if seen.tables.is_empty() {
        return Err(ConnectorError::NoTables);
    }
    let missing = seen.addable().join(", ");
    let statement = match (seen.publication, missing.is_empty()) {
        (Some(_), true) => {
            tell(settings, status, &seen);
            return Ok(seen.captured());
        }
        (None, true) => return Err(refused(settings, "and this role may publish none of the wanted tables")),
        (None, false) => {
            format!("create publication {publication} for table {missing} with ({})", options(client).await?)
        }
        (Some(_), false) => {
            tracing::warn!(source = settings.name, tables = missing, "adding tables to the publication");
            format!("alter publication {publication} add table {missing}")
        }
    };
    client.batch_execute(&statement).await.map_err(|source| match source.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => refused(settings, "and this role may not make it"),
        _ => ConnectorError::Database { doing: "setting up the publication", source: source.into() },
    })?;
    let seen = look(client, settings).await?;
    tell(settings, status, &seen);
    Ok(seen.captured())
}

fn refused(settings: &Settings, why: &str) -> ConnectorError {
    let what = format!("publication `{}` is not there, {why}", settings.publication());
    ConnectorError::Privilege { source_name: settings.name.clone(), what }
}

/// Says what is left to others: in the log once, in the status as long as it is so.
pub(crate) fn tell(settings: &Settings, status: &Status, seen: &Seen) {
    let advice = seen.advice(&settings.publication(), &role_of(settings));
    let mut new = Vec::new();
    status.update(|view| {
        new = advice.iter().filter(|advice| !view.advice.contains(advice)).cloned().collect();
        view.advice.clone_from(&advice);
    });
    for advice in new {
        tracing::warn!(
            source = settings.name,
            about = advice.about,
            why = advice.why,
            sql = advice.sql.join(" -- or: "),
            "the source's administrator has something to decide"
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("causeway_source_advice", "source" => settings.name.clone()).set(advice.len() as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        Table {
            name: name.into(),
            schema: "lims".into(),
            since: "1.7".into(),
            published: true,
            owned: true,
            readable: true,
            ..Table::default()
        }
    }

    fn seen(owned: bool, tables: Vec<Table>) -> Seen {
        Seen { publication: Some(Publication { owned, whole: true }), tables }
    }

    #[track_caller]
    fn check(seen: &Seen, addable: &[&str], advice: &[&str]) {
        assert_eq!(seen.addable(), addable);
        let told = seen.advice("pub", "reader");
        let told: Vec<String> = told.iter().flat_map(|advice| advice.sql.clone()).collect();
        assert_eq!(told, advice);
    }

    #[test]
    fn a_table_is_added_only_by_its_owner_and_only_if_its_old_rows_have_names() {
        let new = Table { published: false, ..table("lims.a") };
        check(&seen(true, vec![table("lims.b"), new.clone()]), &["lims.a"], &[]);
        check(&Seen { publication: None, tables: vec![new.clone()] }, &["lims.a"], &[]);
        check(&seen(false, vec![new.clone()]), &[], &["alter publication pub add table lims.a"]);
        let others = Table { owned: false, ..new.clone() };
        check(&seen(true, vec![others]), &[], &["alter publication pub add table lims.a"]);
        let nameless = Table { nameless: vec!["lims.a".into()], candidate: Some("a_id_key".into()), ..new };
        let ways = [
            "alter table lims.a add primary key (…)",
            "alter table lims.a replica identity using index a_id_key",
            "alter table lims.a replica identity full",
        ];
        check(&seen(true, vec![nameless.clone()]), &[], &ways);
        check(&seen(true, vec![Table { published: true, ..nameless.clone() }]), &[], &ways);
        let parts = Table { nameless: vec!["lims.a_1".into(), "lims.a_2".into()], ..nameless };
        let both = "alter table lims.a_1 replica identity full; alter table lims.a_2 replica identity full";
        check(&seen(true, vec![parts]), &[], &[both]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let closed = Table { readable: false, ..table("lims.a") };
        let grant = "grant usage on schema lims to reader; grant select on lims.a to reader";
        check(&seen(true, vec![closed]), &[], &[grant]);
        check(&seen(true, vec![Table { hidden: true, ..table("lims.a") }]), &[], &["alter role reader bypassrls"]);
        let part = Seen { publication: Some(Publication { owned: true, whole: false }), tables: vec![table("lims.a")] };
        check(&part, &[], &["alter publication pub set (publish = 'insert, update, delete, truncate')"]);
        let captured = seen(false, vec![table("lims.a"), Table { published: false, ..table("lims.b") }]).captured();
        assert_eq!(captured.into_iter().collect::<Vec<_>>(), ["lims.a since 1.7"]);
        // Once it can be read it is another one: what could not be read is read then.
        let captured = seen(true, vec![Table { hidden: true, ..table("lims.a") }]).captured();
        assert_eq!(captured.into_iter().collect::<Vec<_>>(), ["lims.a since 1.7, not readable"]);
    }
}
