//! One `[[record]]` of a draft.

use super::{
    Plan, UNUSED_MAX,
    kinds::{self, Wanted},
    paths::Edge,
    render::{Out, evidence, key, text},
    values, words,
};
use change::described::{Described, DescribedColumn, Family};
use event::Kind;
use mapping::{JOINS_MAX, MEDICATION_STATUSES, RESULT_STATUSES};
use std::collections::BTreeSet;

pub struct Written {
    pub text: String,
    /// The root, and what joins read.
    pub tables: Vec<usize>,
    pub dictionaries: Vec<usize>,
}

/// A join that the record has: its name, and the table.
struct Joined {
    name: String,
    edge: Edge,
    /// The join that it starts from; none: the root.
    from: Option<usize>,
}

struct Record<'a> {
    plan: &'a Plan<'a>,
    root: usize,
    joins: Vec<Joined>,
    used: BTreeSet<(usize, String)>,
    out: Out,
    /// `[record.code]` and `[record.value]`, which follow the joins.
    sections: Out,
}

pub fn write(plan: &Plan<'_>, root: usize, kind: Kind, name: &str, why: &str) -> Written {
    let mut record =
        Record { plan, root, joins: Vec::new(), used: BTreeSet::new(), out: Out::default(), sections: Out::default() };
    let table = record.table(None);
    record.out.comment(why);
    record.out.line("[[record]]");
    record.out.line(&format!("kind = {}", text(kind.as_str())));
    record.out.line(&format!("name = {}", text(name)));
    record.out.line(&format!("table = {}", text(&table.table.to_string())));
    record.identity();
    record.patient();
    record.fields(kind);
    let dictionaries = record.code(kind);
    record.value(kind);
    record.unused();
    let tables = record.joins.iter().map(|join| join.edge.to).chain([root]).collect();
    Written { text: record.finished(), tables, dictionaries }
}

impl<'a> Record<'a> {
    fn table(&self, join: Option<usize>) -> &'a Described {
        &self.plan.tables[join.map_or(self.root, |join| self.joins[join].edge.to)]
    }

    /// A cell, as a mapping names it.
    fn cell(&mut self, join: Option<usize>, column: &str) -> String {
        let place = join.map_or(self.root, |join| self.joins[join].edge.to);
        self.used.insert((place, column.to_owned()));
        join.map_or_else(|| column.to_owned(), |join| format!("{}.{column}", self.joins[join].name))
    }

    fn said(&self, join: Option<usize>, column: &DescribedColumn) -> String {
        evidence(self.table(join), column, self.plan.samples)
    }

    /// Follows a chain; joins that are there are taken. None: there would be too many.
    fn follow(&mut self, chain: &[Edge]) -> Option<usize> {
        let mut at = None;
        for edge in chain {
            let known = self.joins.iter().position(|join| join.edge == *edge && join.from == at);
            at = Some(match known {
                Some(known) => known,
                None if self.joins.len() >= JOINS_MAX => return None,
                None => {
                    let name = self.join_name(&self.plan.tables[edge.to].table.name);
                    self.joins.push(Joined { name, edge: edge.clone(), from: at });
                    self.joins.len() - 1
                }
            });
        }
        at
    }

    fn join_name(&self, table: &str) -> String {
        let taken = |name: &str| self.joins.iter().any(|join| join.name == name);
        let plain = table.replace('.', "_");
        let mut numbered = (2..).map(|number| format!("{plain}{number}"));
        if taken(&plain) { numbered.find(|name| !taken(name)).unwrap_or_default() } else { plain }
    }

    fn identity(&mut self) {
        let table = self.table(None);
        let columns: Vec<String> = table.key.iter().map(|column| text(&self.cell(None, column))).collect();
        let id = if let [one] = columns.as_slice() { one.clone() } else { format!("[{}]", columns.join(", ")) };
        self.out.line(&format!("id = {id} # the primary key"));
        let revision = words::best(&table.columns, &["revision", "version"], &[Family::Number]);
        if let Some(revision) = revision {
            self.out.comment(&format!(
                "`{}`: if an edit makes another row, take as id the column that stays, and highest = {}",
                revision.name,
                text(&revision.name)
            ));
        }
    }

    fn patient(&mut self) {
        let plan = self.plan;
        let patients = &plan.tables[plan.patients];
        let key = patients.key.first().cloned().unwrap_or_default();
        let Some(chain) = plan.chains.get(&self.root).filter(|_| self.root != plan.patients) else {
            let cell = self.cell(None, &key);
            return self.out.line(&format!("patient = {}", text(&cell)));
        };
        let guessed = chain.iter().filter(|edge| !edge.declared).count();
        let hops = chain.len();
        let join = self.follow(chain);
        let cell = self.cell(join, &key);
        let how = if guessed == 0 {
            format!("foreign keys to follow: {hops}")
        } else {
            format!("joins: {hops}, of them guessed by names and types: {guessed}")
        };
        self.out.line(&format!("patient = {} # {how}", text(&cell)));
    }

    fn fields(&mut self, kind: Kind) {
        let table = self.table(None);
        if let Some((column, value)) = kinds::void(table, kind) {
            let said = self.said(None, column);
            let cell = self.cell(None, &column.name);
            self.out.line(&format!("deleted_when = [{{ column = {}, is = {value} }}] # {said}", text(&cell)));
        }
        for column in kinds::confidential(table) {
            self.used.insert((self.root, column.name.clone()));
        }
        let confidential: Vec<String> = kinds::confidential(table)
            .iter()
            .filter(|column| !column.name.contains('.'))
            .map(|column| format!("{{ column = {}, is = true }}", text(&column.name)))
            .collect();
        if !confidential.is_empty() {
            self.out.line(&format!("confidential_when = [{}] # by the names", confidential.join(", ")));
        }
        self.organisation();
        let all = if kind == Kind::Demographics { Vec::new() } else { kinds::of_all() };
        for wanted in all.into_iter().chain(kinds::of_kind(kind)) {
            match self.find(&wanted) {
                Some((join, column)) => self.field(kind, wanted.key, join, &column),
                None if (kind, wanted.key) == (Kind::Observation, "status") => {
                    self.out.line("status = { otherwise = \"unknown\" } # no column found: is what comes final?");
                }
                None => {}
            }
        }
    }

    /// The table's own code, or that of a table that the patients' names.
    fn organisation(&mut self) {
        let plan = self.plan;
        let ods = |table: &'a Described| words::best(&table.columns, &["ods", "organisation"], &[Family::Text]);
        let not = |column: &&DescribedColumn| {
            !words::has_any(&column.name, &["name", "type", "id", "gp", "from", "to", "recipient"])
        };
        let mut cells = Vec::new();
        if let Some(column) = ods(self.table(None)).filter(not) {
            cells.push(text(&self.cell(None, &column.name)));
        }
        let at_patients = plan.chains.get(&self.root).cloned().unwrap_or_default();
        let of_patients =
            |edge: &&Edge| edge.from == plan.patients && ods(&plan.tables[edge.to]).is_some_and(|it| not(&it));
        if let Some(edge) = plan.edges.iter().find(of_patients)
            && let Some(column) = ods(&plan.tables[edge.to])
            && let Some(join) = self.follow(&[at_patients, vec![edge.clone()]].concat())
        {
            cells.push(text(&self.cell(Some(join), &column.name)));
        }
        if !cells.is_empty() {
            self.out.line(&format!("organisation = [{}] # by the names: an ODS code?", cells.join(", ")));
        }
    }

    /// A field's column: the table's own, or of times and specimens that of a table on the way to the patient.
    fn find(&self, wanted: &Wanted) -> Option<(Option<usize>, DescribedColumn)> {
        if let Some(column) = wanted.column(self.table(None)) {
            return Some((None, column.clone()));
        }
        let on_the_way = ["effective_at", "specimen"].contains(&wanted.key);
        let joins = (0..self.joins.len()).filter(|join| on_the_way && self.joins[*join].edge.to != self.plan.patients);
        joins.into_iter().find_map(|join| Some((Some(join), wanted.column(self.table(Some(join)))?.clone())))
    }

    fn field(&mut self, kind: Kind, name: &str, join: Option<usize>, column: &DescribedColumn) {
        let said = self.said(join, column);
        let cell = self.cell(join, &column.name);
        let from = text(&cell);
        match (kind, name) {
            (Kind::Observation, "status") => self.status(&from, column, &RESULT_STATUSES, &said),
            (Kind::Medication, "status") => self.status(&from, column, &MEDICATION_STATUSES, &said),
            (_, "gender") if self.has_letters(join, column) => {
                let words = "{ M = \"male\", F = \"female\" }";
                self.out.line(&format!("gender = {{ from = {from}, words = {words}, rest = \"unknown\" }} # {said}"));
            }
            (_, "gender") => {
                self.out.line(&format!("# gender = {{ from = {from}, words = {{ … }}, rest = \"unknown\" }} # {said}"));
            }
            (_, "nhs_number") => {
                self.out.line(&format!("nhs_number = {from} # {said}"));
                let status = self.table(None).columns.iter().find(|it| {
                    words::has(&it.name, "nhs") && words::has_any(&it.name, &["status", "checked", "verified"])
                });
                let status = status.map(|status| (text(&status.name), self.said(None, status)));
                let status = status.unwrap_or_else(|| ("\"…\"".into(), "nothing found that says it".into()));
                self.out.line(&format!(
                    "# verified_when = [{{ column = {}, is = \"01\" }}] # which numbers were verified? {}",
                    status.0, status.1
                ));
            }
            _ => self.out.line(&format!("{name} = {from} # {said}")),
        }
    }

    /// Are a sex's words seen to be letters? What a number means, nobody guesses.
    fn has_letters(&self, join: Option<usize>, column: &DescribedColumn) -> bool {
        let shown = values::shown(self.table(join), column, self.plan.samples);
        let seen = shown.iter().map(|(value, _)| value).chain(&column.labels);
        column.family != Family::Number && seen.into_iter().any(|value| ["M", "F"].contains(&value.as_str()))
    }

    /// Only words that are the very ones that a mapping knows are listed.
    fn status(&mut self, from: &str, column: &DescribedColumn, ours: &[&str], said: &str) {
        let table = self.table(None);
        let shown = values::shown(table, column, self.plan.samples).into_iter().map(|(value, _)| value);
        let known: Vec<String> = column.labels.iter().cloned().chain(shown).collect();
        let meaning = |word: &str| {
            let word = word.to_lowercase();
            let same = ours.iter().find(|ours| **ours == word).copied();
            same.or_else(|| ours.contains(&"preliminary").then_some("preliminary").filter(|_| word == "prelim"))
        };
        let listed: Vec<String> =
            known.iter().filter_map(|word| Some(format!("{} = {}", key(word), text(meaning(word)?)))).collect();
        let rest: Vec<&str> = known.iter().filter(|word| meaning(word).is_none()).map(String::as_str).collect();
        if listed.is_empty() {
            if ours == RESULT_STATUSES {
                self.out.line("status = { otherwise = \"unknown\" }");
            }
            return self
                .out
                .line(&format!("# status = {{ from = {from}, words = {{ … }}, rest = \"unknown\" }} # {said}"));
        }
        let words = listed.join(", ");
        self.out.line(&format!("status = {{ from = {from}, words = {{ {words} }}, rest = \"unknown\" }} # {said}"));
        if !rest.is_empty() {
            self.out.comment(&format!("not listed, and so \"unknown\": {}", rest.join(", ")));
        }
    }

    /// The words and codes of what it is about: the row's own, and those of dictionaries. Gives out the dictionaries.
    fn code(&mut self, kind: Kind) -> Vec<usize> {
        if matches!(kind, Kind::Demographics | Kind::Encounter) {
            return Vec::new();
        }
        let chains = self.plan.dictionaries(self.root);
        let dictionaries: Vec<usize> = chains.iter().filter_map(|chain| Some(chain.last()?.to)).collect();
        let mut places: Vec<Option<usize>> = vec![None];
        for chain in &chains {
            for hops in 1..=chain.len() {
                let join = self.follow(&chain[..hops]);
                if join.is_some() && !places.contains(&join) {
                    places.push(join);
                }
            }
        }
        let is_dictionary = |record: &Self, join: &Option<usize>| {
            join.is_some_and(|join| dictionaries.contains(&record.joins[join].edge.to))
        };
        // What a dictionary calls it, before what the row does.
        let mut by_words = places.clone();
        by_words.sort_by_key(|join| !is_dictionary(self, join));
        let found = self.cells(&kinds::of_words(), &by_words);
        self.sections.line("[record.code]");
        match found.as_slice() {
            [] => self.sections.line("# text = \"…\" # no column found that holds words"),
            cells => self.sections.line(&format!("text = [{}] # by the names", cells.join(", "))),
        }
        let mut codes = Vec::new();
        for (system, wanted) in kinds::of_code() {
            let mut places = places.clone();
            places.retain(|join| system != "local" || !is_dictionary(self, join));
            let cells = self.cells(&wanted, &places);
            if !cells.is_empty() {
                codes.push(format!("  {{ system = \"{system}\", code = [{}] }},", cells.join(", ")));
            }
        }
        if codes.is_empty() {
            self.sections.line("# codes = [{ system = \"local\", code = \"…\" }] # no column found that holds codes");
        } else {
            self.sections.line("# The first is the original: is it what the user chose?");
            self.sections.line(&format!("codes = [\n{}\n]", codes.join("\n")));
        }
        dictionaries
    }

    /// The cells of several tables that fit.
    fn cells(&mut self, wanted: &Wanted, places: &[Option<usize>]) -> Vec<String> {
        let mut cells = Vec::new();
        for join in places {
            if let Some(column) = wanted.column(self.table(*join)).map(|column| column.name.clone()) {
                cells.push(text(&self.cell(*join, &column)));
            }
        }
        cells
    }

    fn value(&mut self, kind: Kind) {
        if kind != Kind::Observation {
            return;
        }
        self.sections.line("[record.value]");
        let table = self.table(None);
        let found: Vec<(&str, DescribedColumn)> =
            kinds::of_value().iter().filter_map(|wanted| Some((wanted.key, wanted.column(table)?.clone()))).collect();
        let has = |key: &str| found.iter().any(|(known, _)| *known == key);
        if !has("number") && !has("text") {
            self.sections.line("text = { otherwise = \"\" } # no column found that holds the value");
        }
        for (name, column) in &found {
            let said = self.said(None, column);
            let whole = ["integer", "smallint", "bigint"].contains(&column.type_name.as_str());
            if *name == "number" && whole && has("text") {
                let line =
                    format!("# number = {} # beside a text: are its decimals cut off? {said}", text(&column.name));
                self.sections.line(&line);
                continue;
            }
            let cell = self.cell(None, &column.name);
            self.sections.line(&format!("{name} = {} # {said}", text(&cell)));
            if *name == "number" && column.type_name.contains(',') && !column.type_name.ends_with(",0)") {
                self.sections.line("trim_zeros = true # the type pads with zeros that nobody wrote");
            }
        }
    }

    /// Named, so that nothing is overlooked.
    fn unused(&mut self) {
        let table = self.table(None);
        let unused = table.columns.iter().filter(|column| !self.used.contains(&(self.root, column.name.clone())));
        // Columns that a join starts from are used.
        let starts = |name: &String| {
            self.joins
                .iter()
                .any(|join| join.edge.from == self.root && join.edge.pairs.iter().any(|(ours, _)| ours == name))
        };
        let names: Vec<String> = unused
            .filter(|column| !starts(&column.name))
            .take(UNUSED_MAX)
            .map(|column| format!("{} {}", column.name, column.type_name))
            .collect();
        if !names.is_empty() {
            self.out.comment(&format!("Not used: {}", names.join(", ")));
        }
    }

    fn finished(self) -> String {
        let Self { plan, joins, mut out, sections, .. } = self;
        for join in &joins {
            let how = if join.edge.declared { "a foreign key" } else { "a guess: names and types agree" };
            out.line(&format!("[record.join.{}] # {how}", key(&join.name)));
            out.line(&format!("table = {}", text(&plan.tables[join.edge.to].table.to_string())));
            let from = join.from.map_or_else(String::new, |from| format!("{}.", joins[from].name));
            let pairs = join.edge.pairs.iter();
            let pairs: Vec<String> =
                pairs.map(|(ours, theirs)| format!("{} = {}", key(theirs), text(&format!("{from}{ours}")))).collect();
            out.line(&format!("on = {{ {} }}", pairs.join(", ")));
        }
        [out.text(), sections.text()].concat()
    }
}
