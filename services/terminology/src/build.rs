//! From rows to the file of an index.

use crate::{
    container::{Header, Section, TextWriter, Writer},
    dmd::{Kind, Product},
    draft::{Description, Draft},
    hierarchy::{self, Hierarchy, newest},
    history::Association,
    lists,
    loinc::Term,
    mistake::Mistakes,
    read_maps, words,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Write,
};

/// A description's record.
pub const RECORD_BYTES: usize = 24;
/// A row of history.
pub const HISTORY_BYTES: usize = 17;
/// Preferred by nobody.
pub const NOT_PREFERRED: u8 = u8::MAX;
pub const WORDS_MAX: usize = 20_000_000;

/// A LOINC code, and what stands in its place.
#[derive(Serialize, Deserialize)]
pub struct LoincEntry {
    pub term: Term,
    pub map_to: Vec<String>,
}

/// An ingredient that a product holds, with the strength as written: number, unit, per number, unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub ingredient: u64,
    pub strength: [String; 4],
}

#[derive(Serialize, Deserialize)]
pub enum DmdEntry {
    Product {
        product: Product,
        holds: Vec<Held>,
    },
    /// It has another id now.
    Now(u64),
}

/// What does not come from rows.
pub struct About {
    pub name: String,
    pub releases: Vec<String>,
    pub inputs: Vec<crate::container::Input>,
}

type Sections = Vec<(Section, Vec<u8>)>;

/// Writes the index of what was read. Every mistake at once; what does not stop it is among the header's warnings.
pub fn build(
    mut draft: Draft,
    about: About,
    out: impl Write,
    mut mistakes: Mistakes,
    mut stage: impl FnMut(&'static str),
) -> Result<Header, Mistakes> {
    let mut warnings = Mistakes::default();
    let mut header = Header { name: about.name, releases: about.releases, inputs: about.inputs, ..Header::default() };
    stage("the hierarchy");
    let hierarchy = hierarchy::build(&mut draft, &mut mistakes);
    let mut sections = Sections::new();
    if let Some(hierarchy) = &hierarchy {
        history(&draft, hierarchy, &mut sections, &mut header, &mut warnings);
        refsets(&draft, hierarchy, &mut sections, &mut header, &mut warnings);
        maps(&mut draft, hierarchy, &mut sections, &mut header, &mut warnings);
    }
    loinc(&mut draft, &mut sections, &mut header, &mut mistakes, &mut warnings);
    products(&mut draft, &mut sections, &mut header, &mut mistakes, &mut warnings);
    stage("the descriptions");
    let descriptions = hierarchy.as_ref().map(|hierarchy| ordered(&mut draft, hierarchy, &mut mistakes));
    let (Some(hierarchy), Some(descriptions), true) = (hierarchy, descriptions, mistakes.is_empty()) else {
        return Err(mistakes);
    };
    let mut count = |what: &str, number: usize| header.counts.insert(what.to_owned(), number as u64);
    count("concepts", hierarchy.by_ordinal.len());
    count("active concepts", hierarchy.by_ordinal.iter().filter(|(_, active)| *active).count());
    count("descriptions", descriptions.len());
    header.warnings = warnings.all().iter().map(ToString::to_string).collect();
    if warnings.count() > warnings.all().len() as u64 {
        header.warnings.push(format!("and {} more", warnings.count() - warnings.all().len() as u64));
    }
    stage("the words");
    let text = std::mem::take(&mut draft.text);
    drop(draft);
    write(out, &header, sections, hierarchy, &descriptions, &text).map_err(|error| {
        let mut mistakes = Mistakes::default();
        mistakes.add("", 0, format!("cannot write the index: {error}"));
        mistakes
    })?;
    Ok(header)
}

fn write(
    out: impl Write,
    header: &Header,
    sections: Sections,
    hierarchy: Hierarchy,
    descriptions: &[Placed],
    text: &[u8],
) -> std::io::Result<()> {
    let mut writer = Writer::new(out, header)?;
    for (id, bytes) in sections {
        writer.section(id, &bytes)?;
    }
    let Hierarchy { ids, ordinals, by_ordinal, parents, ancestors } = hierarchy;
    writer.section(Section::ConceptIds, &ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>())?;
    writer.section(Section::ConceptOrdinals, &ordinals.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>())?;
    writer.section(Section::OrdinalIds, &by_ordinal.iter().flat_map(|it| it.0.to_le_bytes()).collect::<Vec<_>>())?;
    writer.section(Section::OrdinalFlags, &by_ordinal.iter().map(|it| u8::from(it.1)).collect::<Vec<_>>())?;
    let concepts = by_ordinal.len();
    drop((ids, ordinals, by_ordinal));
    lists_of(&mut writer, Section::ParentOffsets, Section::Parents, parents)?;
    lists_of(&mut writer, Section::AncestorOffsets, Section::Ancestors, ancestors)?;
    write_descriptions(&mut writer, descriptions, concepts, text)?;
    write_words(&mut writer, descriptions, text)?;
    writer.finish()?.flush()
}

fn lists_of(
    writer: &mut Writer<impl Write>,
    offsets: Section,
    blob: Section,
    lists: lists::Writer,
) -> std::io::Result<()> {
    let (own_offsets, own_blob) = lists.finish();
    writer.section(offsets, &own_offsets)?;
    writer.section(blob, &own_blob)
}

/// A description in its place: what is found first stands first.
struct Placed {
    row: Description,
    concept: u32,
    preference: u8,
}

/// In the order of search: in use before not, short before long. So the first that match are the ones that are wanted.
fn ordered(draft: &mut Draft, hierarchy: &Hierarchy, mistakes: &mut Mistakes) -> Vec<Placed> {
    let mut rows = std::mem::take(&mut draft.descriptions);
    newest(&mut rows, |row| (row.id, row.time, row.line), |line| draft.file_of(line).to_owned(), mistakes);
    let mut preferred = std::mem::take(&mut draft.preferred);
    preferred.sort_unstable_by_key(|it| (it.description, it.rank));
    preferred.dedup_by_key(|it| it.description);
    let mut placed = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(concept) = hierarchy.ordinal(row.of) else {
            let what = format!("the concept {} of the description {} is in no Concept file", row.of, row.id);
            mistakes.add(draft.file_of(row.line), row.line.number.into(), what);
            continue;
        };
        let found = preferred.binary_search_by_key(&row.id, |it| it.description).ok();
        let preference = found.map_or(NOT_PREFERRED, |nth| preferred[nth].rank);
        placed.push(Placed { row, concept, preference });
    }
    let in_use = |it: &Placed| it.row.active && hierarchy.by_ordinal[it.concept as usize].1;
    placed.sort_unstable_by_key(|it| (!in_use(it), it.row.length, it.row.id));
    placed
}

fn write_descriptions(
    writer: &mut Writer<impl Write>,
    descriptions: &[Placed],
    concepts: usize,
    text: &[u8],
) -> std::io::Result<()> {
    let mut records = Vec::with_capacity(descriptions.len() * RECORD_BYTES);
    for Placed { row, concept, preference } in descriptions {
        records.extend_from_slice(&concept.to_le_bytes());
        records.extend_from_slice(&row.offset.to_le_bytes());
        records.extend_from_slice(&row.length.to_le_bytes());
        records.extend_from_slice(&[row.kind, u8::from(row.active), *preference, 0]);
        records.extend_from_slice(&row.language);
        records.extend_from_slice(&row.id.to_le_bytes());
    }
    writer.section(Section::DescriptionRecords, &records)?;
    drop(records);
    let mut by_id: Vec<(u64, u32)> = descriptions.iter().zip(0..).map(|(it, ordinal)| (it.row.id, ordinal)).collect();
    by_id.sort_unstable();
    writer.section(Section::DescriptionIds, &by_id.iter().flat_map(|it| it.0.to_le_bytes()).collect::<Vec<_>>())?;
    writer
        .section(Section::DescriptionOrdinals, &by_id.iter().flat_map(|it| it.1.to_le_bytes()).collect::<Vec<_>>())?;
    drop(by_id);
    let mut of: Vec<(u32, u32)> = descriptions.iter().zip(0..).map(|(it, ordinal)| (it.concept, ordinal)).collect();
    of.sort_unstable();
    let (mut names, mut at, mut own) = (lists::Writer::default(), 0, Vec::new());
    for concept in 0..concepts as u32 {
        own.clear();
        while let Some((_, ordinal)) = of.get(at).filter(|(own, _)| *own == concept) {
            own.push(*ordinal);
            at += 1;
        }
        names.push(&own);
    }
    lists_of(writer, Section::NameOffsets, Section::Names, names)?;
    writer.section(Section::Text, text)
}

/// Every word of every active description, and in which of them it stands.
fn write_words(writer: &mut Writer<impl Write>, descriptions: &[Placed], text: &[u8]) -> std::io::Result<()> {
    let (mut known, mut postings): (HashMap<Box<str>, u32>, Vec<u64>) = (HashMap::new(), Vec::new());
    let mut scratch = String::new();
    for (Placed { row, .. }, ordinal) in descriptions.iter().zip(0_u64..).filter(|(it, _)| it.row.active) {
        let from = row.offset as usize;
        let term = text.get(from..from + usize::from(row.length)).and_then(|term| std::str::from_utf8(term).ok());
        words::each(term.unwrap_or_default(), &mut scratch, |word| {
            let number = match known.get(word) {
                Some(number) => *number,
                None => {
                    let number = known.len().min(WORDS_MAX) as u32;
                    known.insert(word.into(), number);
                    number
                }
            };
            postings.push(u64::from(number) << 32 | ordinal);
        });
    }
    if known.len() > WORDS_MAX {
        return Err(std::io::Error::other(format!("more than {WORDS_MAX} different words")));
    }
    postings.sort_unstable();
    postings.dedup();
    let mut starts = vec![0_usize; known.len() + 1];
    postings.iter().for_each(|it| starts[(it >> 32) as usize + 1] += 1);
    for nth in 0..known.len() {
        starts[nth + 1] += starts[nth];
    }
    let mut alphabet: Vec<(Box<str>, u32)> = known.into_iter().collect();
    alphabet.sort_unstable();
    let (mut words, mut lists, mut own) = (TextWriter::default(), lists::Writer::default(), Vec::new());
    for (word, number) in &alphabet {
        let (from, to) = (starts[*number as usize], starts[*number as usize + 1]);
        own.clear();
        own.extend(postings[from..to].iter().map(|it| *it as u32));
        words.push(word.as_bytes());
        lists.push(&own);
    }
    writer.section(Section::WordOffsets, &words.offsets)?;
    writer.section(Section::Words, &words.blob)?;
    lists_of(writer, Section::PostingOffsets, Section::Postings, lists)
}

fn history(
    draft: &Draft,
    hierarchy: &Hierarchy,
    sections: &mut Sections,
    header: &mut Header,
    warnings: &mut Mistakes,
) {
    let mut rows = BTreeSet::new();
    for row in &draft.associations {
        if hierarchy.ordinal(row.of).is_some() {
            rows.insert((row.of, Association::of_refset(row.refset) as u8, row.target));
        } else {
            let what = format!("the concept {} that has a history is in no Concept file", row.of);
            warnings.add(draft.file_of(row.line), row.line.number.into(), what);
        }
    }
    let mut bytes = Vec::with_capacity(rows.len() * HISTORY_BYTES);
    for (of, how, target) in &rows {
        bytes.extend_from_slice(&of.to_le_bytes());
        bytes.push(*how);
        bytes.extend_from_slice(&target.to_le_bytes());
    }
    header.counts.insert("history".to_owned(), rows.len() as u64);
    sections.push((Section::History, bytes));
}

fn refsets(
    draft: &Draft,
    hierarchy: &Hierarchy,
    sections: &mut Sections,
    header: &mut Header,
    warnings: &mut Mistakes,
) {
    let mut all: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
    for (refset, member) in &draft.members {
        match hierarchy.ordinal(*member) {
            Some(ordinal) => drop(all.entry(*refset).or_default().insert(ordinal)),
            None => warnings.add("", 0, format!("the member {member} of the refset {refset} is in no Concept file")),
        }
    }
    let mut members = lists::Writer::default();
    for (refset, own) in &all {
        members.push(&own.iter().copied().collect::<Vec<_>>());
        header.counts.insert(format!("members of {refset}"), own.len() as u64);
    }
    let (offsets, blob) = members.finish();
    sections.push((Section::RefsetIds, all.keys().flat_map(|id| id.to_le_bytes()).collect()));
    sections.push((Section::RefsetOffsets, offsets));
    sections.push((Section::RefsetMembers, blob));
}

/// Keys in order with their values; a key may have several.
fn keyed(sections: &mut Sections, ids: [Section; 4], mut rows: Vec<(Vec<u8>, Vec<u8>)>) {
    rows.sort();
    rows.dedup();
    let (mut keys, mut values) = (TextWriter::default(), TextWriter::default());
    for (key, value) in &rows {
        keys.push(key);
        values.push(value);
    }
    let bytes = [keys.offsets, keys.blob, values.offsets, values.blob];
    sections.extend(ids.into_iter().zip(bytes));
}

/// `read-v2`, a zero byte, the code, a zero byte, the term.
pub fn map_key(system: &str, code: &str, term: &str) -> Vec<u8> {
    [system.as_bytes(), &[0], code.as_bytes(), &[0], term.as_bytes()].concat()
}

fn maps(
    draft: &mut Draft,
    hierarchy: &Hierarchy,
    sections: &mut Sections,
    header: &mut Header,
    warnings: &mut Mistakes,
) {
    let (rows, counts) = read_maps::newest(std::mem::take(&mut draft.maps));
    for (system, counted) in counts {
        let mut count = |what: &str, number| header.counts.insert(format!("{} {what}", system.as_str()), number);
        count("rows", counted.rows);
        count("latest", counted.latest);
        count("active", counted.active);
        count("assured", counted.assured);
    }
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(concept) = row.target.concept.filter(|concept| hierarchy.ordinal(*concept).is_none()) {
            let what = format!(
                "the {} code {} is mapped to {concept}, which no Concept file has",
                row.system.as_str(),
                row.code
            );
            warnings.add("", 0, what);
        }
        keys.push((map_key(row.system.as_str(), &row.code, &row.term), encoded(&row.target)));
    }
    header.counts.insert("simple maps".to_owned(), draft.simple.len() as u64);
    for simple in std::mem::take(&mut draft.simple) {
        let target = read_maps::Target {
            concept: Some(simple.of),
            description: None,
            term_kind: String::new(),
            assured: false,
            date: 0,
        };
        keys.push((map_key(&simple.refset.to_string(), &simple.code, ""), encoded(&target)));
    }
    keyed(sections, [Section::MapKeyOffsets, Section::MapKeys, Section::MapValueOffsets, Section::MapValues], keys);
}

/// Values are of types of our own, which are never too large or of unknown length.
fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}

fn loinc(
    draft: &mut Draft,
    sections: &mut Sections,
    header: &mut Header,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) {
    let mut terms: BTreeMap<String, LoincEntry> = BTreeMap::new();
    for term in std::mem::take(&mut draft.loinc) {
        let code = term.code.clone();
        if terms.insert(code.clone(), LoincEntry { term, map_to: Vec::new() }).is_some() {
            mistakes.add("Loinc.csv", 0, format!("{code} is there twice"));
        }
    }
    for (from, to) in std::mem::take(&mut draft.loinc_maps) {
        match terms.get_mut(&from) {
            Some(entry) => entry.map_to.push(to),
            None => warnings.add("MapTo.csv", 0, format!("{from} is not in Loinc.csv")),
        }
    }
    if !terms.is_empty() {
        header.counts.insert("loinc".to_owned(), terms.len() as u64);
    }
    let rows = terms.into_iter().map(|(code, entry)| (code.into_bytes(), encoded(&entry))).collect();
    let ids = [Section::LoincKeyOffsets, Section::LoincKeys, Section::LoincValueOffsets, Section::LoincValues];
    keyed(sections, ids, rows);
}

fn products(
    draft: &mut Draft,
    sections: &mut Sections,
    header: &mut Header,
    mistakes: &mut Mistakes,
    warnings: &mut Mistakes,
) {
    let (mut all, mut holds): (BTreeMap<u64, Product>, BTreeMap<u64, Vec<Held>>) = (BTreeMap::new(), BTreeMap::new());
    let mut unknown = Vec::new();
    for (product, line) in std::mem::take(&mut draft.products) {
        if product.kind == Kind::Holds {
            let held = Held { ingredient: product.of.unwrap_or_default(), strength: product.strength };
            holds.entry(product.id).or_default().push(held);
            unknown.extend([(product.id, line), (product.of.unwrap_or_default(), line)]);
            continue;
        }
        unknown.extend(product.of.map(|of| (of, line)));
        let id = product.id;
        if all.insert(id, product).is_some() {
            mistakes.add(draft.file_of(line), line.number.into(), format!("{id} was there already"));
        }
    }
    for (id, line) in unknown.into_iter().filter(|(id, _)| !all.contains_key(id)) {
        warnings.add(draft.file_of(line), line.number.into(), format!("{id} is in no file of dm+d that was given"));
    }
    let before: Vec<(u64, u64)> = all.values().filter_map(|it| Some((it.previous?, it.id))).collect();
    if !all.is_empty() {
        header.counts.insert("dm+d".to_owned(), all.len() as u64);
    }
    let before = before.into_iter().filter(|(previous, _)| !all.contains_key(previous)).collect::<Vec<_>>();
    let now = before.into_iter().map(|(previous, id)| (previous, DmdEntry::Now(id)));
    let own = all.into_iter().map(|(id, product)| {
        let holds = holds.remove(&id).unwrap_or_default();
        (id, DmdEntry::Product { product, holds })
    });
    let rows: Vec<_> = own.chain(now).map(|(id, entry)| (id.to_be_bytes().to_vec(), encoded(&entry))).collect();
    keyed(sections, [Section::DmdKeyOffsets, Section::DmdKeys, Section::DmdValueOffsets, Section::DmdValues], rows);
}
