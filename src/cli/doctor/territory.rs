//! Which part of Microsoft Graph an application permission is for, as paths below the version
//! (Microsoft Graph permissions reference). Families that are missing here are not judged.

/// Permissions of one family, `Mail` in `Mail.ReadWrite`, and where they matter: `*` is one segment,
/// `**` any number of them. Where several families serve a path, each has it.
pub(super) struct Territory {
    pub(super) family: &'static str,
    pub(super) paths: &'static [&'static str],
}

const fn territory(family: &'static str, paths: &'static [&'static str]) -> Territory {
    Territory { family, paths }
}

const CALENDARS: &[&str] = &[
    "users/*/calendar/**",
    "users/*/calendarGroups/**",
    "users/*/calendarView/**",
    "users/*/calendars/**",
    "users/*/events/**",
    "users/*/findMeetingTimes",
    "users/*/getSchedule",
    "places/**",
];
const FILES: &[&str] = &[
    "drives/**",
    "groups/*/drive/**",
    "groups/*/drives/**",
    "shares/**",
    "sites/*/drive/**",
    "sites/*/drives/**",
    "users/*/drive/**",
    "users/*/drives/**",
];
const GROUPS: &[&str] = &[
    "groups/**",
    "groups/*/calendar/**",
    "groups/*/drive/**",
    "groups/*/events/**",
    "groups/*/members/**",
    "groups/*/owners/**",
    "groups/*/planner/**",
    "groups/*/sites/**",
    "groups/*/team/**",
    "planner/**",
    "teams/**",
    "users/*/memberOf/**",
    "users/*/transitiveMemberOf/**",
];
const MAIL: &[&str] = &[
    "users/*/inferenceClassification/**",
    "users/*/mailFolders/**",
    "users/*/messages/**",
    "users/*/sendMail",
];
const TEAMS: &[&str] = &["groups/*/team/**", "teams/**", "users/*/joinedTeams"];

/// The families, in the order of their names.
pub(super) const TERRITORIES: &[Territory] = &[
    territory(
        "AppRoleAssignment",
        &[
            "servicePrincipals/**",
            "users/*/appRoleAssignments/**",
            "groups/*/appRoleAssignments/**",
            "oauth2PermissionGrants/**",
        ],
    ),
    territory(
        "Application",
        &[
            "applications/**",
            "servicePrincipals/**",
            "applicationTemplates/**",
        ],
    ),
    territory("AuditLog", &["auditLogs/**", "reports/**", "users/**"]),
    territory("Calendars", CALENDARS),
    territory("Channel", TEAMS),
    territory("ChannelMessage", TEAMS),
    territory("ChannelSettings", TEAMS),
    territory("Chat", &["chats/**", "users/*/chats/**"]),
    territory(
        "Contacts",
        &["users/*/contactFolders/**", "users/*/contacts/**"],
    ),
    territory("Device", &["devices/**"]),
    territory("DeviceManagementApps", &["deviceAppManagement/**"]),
    territory("DeviceManagementConfiguration", &["deviceManagement/**"]),
    territory(
        "DeviceManagementManagedDevices",
        &["deviceManagement/**", "users/*/managedDevices/**"],
    ),
    territory(
        "Directory",
        &[
            "administrativeUnits/**",
            "applications/**",
            "contacts/**",
            "devices/**",
            "directory/**",
            "directoryObjects/**",
            "directoryRoles/**",
            "domains/**",
            "groups/**",
            "groups/*/members/**",
            "groups/*/owners/**",
            "organization/**",
            "roleManagement/**",
            "servicePrincipals/**",
            "subscribedSkus/**",
            "users/**",
            "users/*/memberOf/**",
            "users/*/transitiveMemberOf/**",
        ],
    ),
    territory("Domain", &["domains/**"]),
    territory("Files", FILES),
    territory("Group", GROUPS),
    territory("GroupMember", GROUPS),
    territory("Mail", MAIL),
    territory(
        "MailboxSettings",
        &["users/*/mailboxSettings/**", "users/*/mailFolders/**"],
    ),
    territory(
        "Notes",
        &[
            "users/*/onenote/**",
            "groups/*/onenote/**",
            "sites/*/onenote/**",
        ],
    ),
    territory(
        "OnlineMeetings",
        &["users/*/onlineMeetings/**", "communications/**"],
    ),
    territory("Organization", &["organization/**", "subscribedSkus/**"]),
    territory("Policy", &["policies/**", "identity/**"]),
    territory("Reports", &["reports/**"]),
    territory(
        "RoleManagement",
        &[
            "roleManagement/**",
            "directoryRoles/**",
            "directoryRoleTemplates/**",
        ],
    ),
    territory(
        "Sites",
        &[
            "sites/**",
            "drives/**",
            "groups/*/sites/**",
            "shares/**",
            "sites/*/drive/**",
            "sites/*/drives/**",
            "sites/*/onenote/**",
        ],
    ),
    territory(
        "Tasks",
        &[
            "users/*/todo/**",
            "users/*/planner/**",
            "planner/**",
            "groups/*/planner/**",
        ],
    ),
    territory("Team", TEAMS),
    territory("TeamMember", TEAMS),
    territory(
        "User",
        &["users/**", "users/*/memberOf/**", "users/*/photo/**"],
    ),
];

/// Paths that serve whatever family the request names inside.
pub(super) const EVERYWHERE: &[&str] = &["subscriptions/**", "search/**", "directoryObjects/**"];

/// With one of these an app can make itself anything, or read everything.
pub(super) const PRIVILEGED: &[&str] = &[
    "AppRoleAssignment.ReadWrite.All",
    "Application.ReadWrite.All",
    "Directory.ReadWrite.All",
    "RoleManagement.ReadWrite.Directory",
    "Sites.FullControl.All",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_listed_once_with_paths_of_the_form_that_is_read() {
        assert!(TERRITORIES.is_sorted_by(|a, b| a.family < b.family));
        let paths = TERRITORIES.iter().flat_map(|it| it.paths).chain(EVERYWHERE);
        for path in paths {
            assert!(!path.starts_with('/') && !path.contains("**/"), "{path}");
        }
    }
}
