//! What Dataverse says of its tables: the names of sets and keys, the columns with options, the file
//! columns. Clients look up the name of a set before they touch a row.

use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::dataverse::{error, json, link, missing};
use super::graph::reads;

/// Where the definitions begin, below the root.
pub(super) const DEFINITIONS: &str = "EntityDefinitions";
/// The definition of the one table that is described.
const TABLE_ID: &str = "70816501-edb9-4740-a16c-6a5efbc05d84";
/// The columns that hold a file.
const FILE_COLUMN: &str = "sample_filecolumn";

/// Answers for definitions; `path` is what follows the root.
pub(super) fn answer(call: &Call, path: &str) -> Answer {
    if !reads(&call.method) {
        return error(405, "0x8006088a", "Definitions are only read here.");
    }
    let attributes = format!("{DEFINITIONS}({TABLE_ID})/Attributes");
    let options = format!(
        "{DEFINITIONS}(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata"
    );
    if path == DEFINITIONS {
        collection(call, table(call))
    } else if path == attributes {
        collection(call, column(call))
    } else if path == options {
        collection(call, Some(picklist()))
    } else {
        missing(call)
    }
}

fn collection(call: &Call, item: Option<Value>) -> Answer {
    let items: Vec<Value> = item.into_iter().collect();
    let context = link(call, format_args!("$metadata#{DEFINITIONS}"));
    json(200, &json!({"@odata.context": context, "value": items}))
}

/// The name that a filter `LogicalName eq 'name'` asks for.
fn named(call: &Call) -> Option<String> {
    let filter = call.option("$filter")?.replace('+', " ");
    let name = filter
        .strip_prefix("LogicalName eq '")?
        .strip_suffix('\'')?;
    Some(name.to_owned())
}

fn table(call: &Call) -> Option<Value> {
    (named(call)? == "account").then(|| {
        json!({
            "MetadataId": TABLE_ID,
            "LogicalName": "account",
            "SchemaName": "Account",
            "EntitySetName": "accounts",
            "PrimaryIdAttribute": "accountid",
            "PrimaryNameAttribute": "name",
        })
    })
}

fn column(call: &Call) -> Option<Value> {
    (named(call)? == FILE_COLUMN).then(|| {
        json!({
            "@odata.type": "#Microsoft.Dynamics.CRM.FileAttributeMetadata",
            "MetadataId": "2b1b3c1e-0000-4000-8000-000000000001",
            "LogicalName": FILE_COLUMN,
            "SchemaName": FILE_COLUMN,
        })
    })
}

fn picklist() -> Value {
    let label = json!({"LocalizedLabels": [{"Label": "Accounting", "LanguageCode": 1033}]});
    json!({
        "LogicalName": "industrycode",
        "OptionSet": {"Options": [{"Value": 1, "Label": label}]},
    })
}
