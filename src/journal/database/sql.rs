//! Statements: their text in one schema, and their parameters.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::journal::postgres::error::PostgresError;
use crate::journal::postgres::link::{Link, Statement};
use crate::journal::postgres::options::SchemaName;

/// A parameter that is kept until the statement is sent.
type Value = (Box<dyn ToSql + Sync + Send>, Type);

/// The text of a statement, in which `@name` is a table of the journal.
pub(super) fn text(schema: &SchemaName, text: &str) -> String {
    text.replace('@', &format!("{schema}."))
}

/// A statement that is put together.
pub(super) struct Sql {
    schema: SchemaName,
    pub(super) text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(schema: &SchemaName, text: &str) -> Self {
        Self { schema: schema.clone(), text: self::text(schema, text), values: Vec::new() }
    }

    /// With the next parameter.
    #[must_use]
    pub(super) fn with(mut self, value: impl ToSql + Sync + Send + 'static, of: Type) -> Self {
        self.values.push((Box::new(value), of));
        self
    }

    pub(super) fn text(self, value: impl Into<String>) -> Self {
        self.with(value.into(), Type::TEXT)
    }

    pub(super) fn number(self, value: u64) -> Self {
        self.with(number(value), Type::INT8)
    }

    pub(super) fn key(self, value: i32) -> Self {
        self.with(value, Type::INT4)
    }

    pub(super) fn time(self, value: Timestamp) -> Self {
        self.with(value, Type::TIMESTAMPTZ)
    }

    /// Goes on with this, in which each `?` is the next parameter.
    #[must_use]
    pub(super) fn and(mut self, text: &str) -> Self {
        let place = format!("${}", self.values.len() + 1);
        self.text += &self::text(&self.schema, &text.replace('?', &place));
        self
    }

    /// The parameters, as a link takes them.
    pub(super) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values.iter().map(|(value, of)| (value.as_ref() as &(dyn ToSql + Sync), of.clone())).collect()
    }
}

/// Numbers of the database end where those of `i64` do.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Sends all of these as one transaction, and returns the rows of each.
pub(super) async fn together(link: &mut Link, all: &[Sql]) -> Result<Vec<Vec<Row>>, PostgresError> {
    let parameters: Vec<_> = all.iter().map(Sql::parameters).collect();
    let statement = |(sql, parameters)| {
        let sql: &Sql = sql;
        let parameters: &Vec<_> = parameters;
        Statement { sql: &sql.text, parameters }
    };
    let statements: Vec<Statement<'_>> = all.iter().zip(&parameters).map(statement).collect();
    link.transaction(&statements).await
}
