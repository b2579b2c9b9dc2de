//! The macros that make a type of a table: its codec, schema, canonical form, JSON, and what mappings tell.

/// Types that travel as their text.
macro_rules! as_text {
    ($($kind:ty, $name:literal, $parse:expr, $text:expr;)*) => { $(
        impl $crate::datum::Datum for $kind {
            const SHAPE: $crate::datum::Shape = $crate::datum::Shape::Derived;

            fn write(&self, out: &mut Vec<u8>) {
                let text = $text;
                $crate::avro::wire::string(out, text(self).as_ref());
            }

            fn read(
                from: &mut $crate::avro::wire::Reader<'_>,
            ) -> Result<Self, $crate::avro::DecodeError> {
                from.parsed($name, $parse)
            }

            fn schema(_: &mut $crate::datum::Known) -> serde_json::Value {
                "string".into()
            }

            fn form(&self, out: &mut Vec<u8>) {
                let text = $text;
                out.extend_from_slice(AsRef::<str>::as_ref(&text(self)).as_bytes());
            }

            fn json(&self) -> serde_json::Value {
                let text = $text;
                AsRef::<str>::as_ref(&text(self)).into()
            }

            fn told(_: $crate::datum::Told) -> Option<Self> {
                None
            }
        }
    )* };
}
pub(crate) use as_text;

/// A closed vocabulary: an Avro enum. `default` is what a reader takes for a word that it does not know.
macro_rules! words {
    ($(#[doc = $about:literal])+ $name:ident, default $default:literal, {
        $($(#[$meta:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$meta])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::datum::Datum for $name {
            const SHAPE: $crate::datum::Shape = $crate::datum::Shape::Derived;

            fn write(&self, out: &mut Vec<u8>) {
                $crate::avro::wire::long(out, *self as i64);
            }

            fn read(
                from: &mut $crate::avro::wire::Reader<'_>,
            ) -> Result<Self, $crate::avro::DecodeError> {
                from.symbol(stringify!($name), Self::ALL)
            }

            fn schema(known: &mut $crate::datum::Known) -> serde_json::Value {
                if known.contains(&stringify!($name)) {
                    return stringify!($name).into();
                }
                known.push(stringify!($name));
                serde_json::json!({"type": "enum", "name": stringify!($name), "doc": $crate::datum::doc(&[$($about),+]),
                    "symbols": [$($word),+], "default": $default})
            }

            fn form(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_str().as_bytes());
            }

            fn json(&self) -> serde_json::Value {
                self.as_str().into()
            }

            fn told(_: $crate::datum::Told) -> Option<Self> {
                None
            }
        }
    };
}
pub(crate) use words;

/// A record of the schema: its fields with their docs and types, in the schema's order. A field is only ever added at the
/// end, with a type that has a default. `takes`: what a mapping says for it, where that is not its fields.
macro_rules! record {
    (@shape $name:ident) => {
        $crate::datum::Shape::One(<$name as $crate::datum::Record>::FIELDS)
    };
    (@shape $name:ident $shape:ident) => {
        $crate::datum::Shape::$shape
    };
    (@told $told:ident) => {
        if let $crate::datum::Told::One(fields) = $told { Some($crate::datum::Record::of(fields)) } else { None }
    };
    (@told $told:ident $shape:ident) => {
        if let $crate::datum::Told::$shape(it) = $told { Some(*it) } else { None }
    };
    ($($(#[doc = $about:literal])+ $name:ident $(takes $shape:ident)? {
        $($(#[doc = $doc:literal])+ $field:ident: $kind:ty,)+
    })+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $kind,)+ }

        impl $crate::datum::Datum for $name {
            const SHAPE: $crate::datum::Shape = $crate::datum::record!(@shape $name $($shape)?);

            fn write(&self, out: &mut Vec<u8>) {
                $($crate::datum::Datum::write(&self.$field, out);)+
            }

            fn read(
                from: &mut $crate::avro::wire::Reader<'_>,
            ) -> Result<Self, $crate::avro::DecodeError> {
                Ok(Self { $($field: $crate::datum::Datum::read(from)?,)+ })
            }

            fn schema(known: &mut $crate::datum::Known) -> serde_json::Value {
                if known.contains(&stringify!($name)) {
                    return stringify!($name).into();
                }
                known.push(stringify!($name));
                let fields = vec![$(
                    $crate::datum::field::<$kind>(stringify!($field), &[$($doc),+], known),
                )+];
                serde_json::json!({"type": "record", "name": stringify!($name),
                    "doc": $crate::datum::doc(&[$($about),+]), "fields": fields})
            }

            fn form(&self, out: &mut Vec<u8>) {
                $($crate::datum::form(stringify!($field), &self.$field, out);)+
            }

            fn json(&self) -> serde_json::Value {
                let mut fields = serde_json::Map::new();
                $crate::datum::Record::each(self, &[], &mut |name, value| {
                    fields.insert(name.to_owned(), value);
                });
                if fields.is_empty() { serde_json::Value::Null } else { fields.into() }
            }

            fn told(told: $crate::datum::Told) -> Option<Self> {
                $crate::datum::record!(@told told $($shape)?)
            }
        }

        impl $crate::datum::Record for $name {
            const FIELDS: $crate::datum::Fields =
                &[$((stringify!($field), <$kind as $crate::datum::Datum>::SHAPE),)+];

            fn of(told: Vec<$crate::datum::Told>) -> Self {
                let mut told = told.into_iter();
                Self {
                    $($field: $crate::datum::Datum::told(told.next().unwrap_or_default()).unwrap_or_default(),)+
                }
            }

            fn each(&self, but: &[&str], take: &mut dyn FnMut(&'static str, serde_json::Value)) {
                $(if !but.contains(&stringify!($field)) {
                    let value = $crate::datum::Datum::json(&self.$field);
                    if !value.is_null() {
                        take(stringify!($field), value);
                    }
                })+
            }
        }
    )+ };
}
pub(crate) use record;
