//! The members of a request: named in any case, and of any type that .NET would convert.

use serde_json::{Map, Value};

use super::answer::RavenError;
use super::json;

/// The members of a request's body.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body. None: `null`, or nothing at all.
    pub fn read(text: &str) -> Result<Option<Self>, RavenError> {
        let wrong = |text: String| {
            let status = actix_web::http::StatusCode::BAD_REQUEST;
            RavenError::Unhandled(status, format!("Newtonsoft.Json.JsonReaderException: {text}"))
        };
        match json::parse(text).map_err(wrong)? {
            Value::Object(members) => Ok(Some(Self(members))),
            Value::Null => Ok(None),
            _ => Err(wrong("the body is no object".to_owned())),
        }
    }

    /// The last of that name, as .NET has it; null is as good as none.
    fn get(&self, name: &str) -> Option<&Value> {
        let same = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|(_, value)| value).next_back().filter(|v| !v.is_null())
    }

    /// Numbers and booleans are texts too.
    pub fn text(&self, name: &str) -> Result<Option<String>, RavenError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Bool(flag)) => Ok(Some(if *flag { "True" } else { "False" }.to_owned())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(mistake(name, "a text")),
        }
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, RavenError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::Number(number)) => Ok(Some(number.as_f64() != Some(0.0))),
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("false") => {
                Ok(Some(false))
            }
            Some(_) => Err(mistake(name, "true or false")),
        }
    }

    /// Seconds; what is below zero is zero.
    pub fn seconds(&self, name: &str) -> Result<Option<u32>, RavenError> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let number: i32 = number
            .and_then(|number| number.try_into().ok())
            .ok_or_else(|| mistake(name, "a number"))?;
        Ok(Some(number.try_into().unwrap_or(0)))
    }

    pub fn object(&self, name: &str) -> Result<Option<Map<String, Value>>, RavenError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object.clone())),
            Some(_) => Err(mistake(name, "an object")),
        }
    }
}

fn mistake(name: &str, wanted: &str) -> RavenError {
    let status = actix_web::http::StatusCode::BAD_REQUEST;
    let text = format!("Newtonsoft.Json.JsonSerializationException: {name} must be {wanted}");
    RavenError::Unhandled(status, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Fields {
        Fields::read(body).unwrap().unwrap()
    }

    /// "names match case-insensitively", "Unknown fields ignored"
    #[test]
    fn names_in_any_case_and_values_of_any_type() {
        let fields = of(
            "{'backupLOCATION':'x','more':[1],'Defrag':'True','Timeout':'7','N':5,'D':{'a':null}}",
        );
        assert_eq!(fields.text("BackupLocation").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.text("n").unwrap().as_deref(), Some("5"));
        assert_eq!(fields.flag("defrag").unwrap(), Some(true));
        assert_eq!(fields.flag("N").unwrap(), Some(true));
        assert_eq!(fields.seconds("timeout").unwrap(), Some(7));
        assert_eq!(fields.object("d").unwrap().unwrap().len(), 1);
        assert!(fields.text("none").unwrap().is_none());
        assert!(fields.text("more").is_err() && fields.flag("backuplocation").is_err());
        assert!(fields.seconds("more").is_err() && fields.object("n").is_err());
        assert_eq!(of("{'t':-1}").seconds("t").unwrap(), Some(0));
        assert!(of("{'t':99999999999}").seconds("t").is_err());
        assert!(Fields::read("null").unwrap().is_none());
        assert!(Fields::read("").unwrap().is_none());
        assert!(Fields::read("[]").is_err());
    }
}
