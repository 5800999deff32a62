//! Helpers for the OpenAPI schemas.

/// An enum that is an integer on the wire, with the names that generated clients give its values
/// (`x-enum-varnames`).
#[macro_export]
#[doc(hidden)]
macro_rules! integer_enum {
    ($(#[doc = $doc:literal])* $name:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($variant = $number),+ }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i32(*self as i32)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let description = [$($doc),*].map(str::trim).join(" ");
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::Integer)
                    .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                        utoipa::openapi::KnownFormat::Int32,
                    )))
                    .description(Some(description))
                    .enum_values(Some([$($number),+]))
                    .extensions(Some(utoipa::openapi::extensions::Extensions::from_iter([(
                        "x-enum-varnames",
                        serde_json::json!([$(stringify!($variant)),+]),
                    )])))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed(stringify!($name))
            }
        }
    };
}

pub use integer_enum;
