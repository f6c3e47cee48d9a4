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
    "users/*/reminderView/**",
    "groups/*/calendar/**",
    "places/**",
];
const CLASSIFICATIONS: &str = "servicePrincipals/*/delegatedPermissionClassifications/**";
/// Whoever may read or restore what is deleted is asked for the permission for what it was.
const DELETED: &str = "directory/deletedItems/**";
const FILES: &[&str] = &[
    "drives/**",
    "groups/*/drive/**",
    "groups/*/drives/**",
    "groups/*/sites/**",
    "shares/**",
    "sites/*/analytics/**",
    "sites/*/drive/**",
    "sites/*/drives/**",
    "sites/*/getByPath/**",
    "sites/*/lists/**",
    "sites/*/sites/**",
    CHANNEL_FILES,
    "users/*/drive/**",
    "users/*/drives/**",
];
const CHANNEL_FILES: &str = "teams/*/channels/*/filesFolder";
/// To be told all that stands in a member, an app needs the permission for what the member is.
const MEMBERS: &str = "groups/*/members/**";
const MEMBERS_OF_MEMBERS: &str = "groups/*/transitiveMembers/**";
const OWNERS: &str = "groups/*/owners/**";
const GROUPS: &[&str] = &[
    "groups/**",
    "groups/*/calendar/**",
    "groups/*/drive/**",
    "groups/*/drives/**",
    "groups/*/events/**",
    MEMBERS,
    MEMBERS_OF_MEMBERS,
    OWNERS,
    "groups/*/appRoleAssignments/**",
    "groups/*/planner/**",
    "groups/*/sites/**",
    "groups/*/team/**",
    DELETED,
    "groupLifecyclePolicies/**",
    "groupSettings/**",
    "planner/**",
    "teams/**",
    CHANNEL_FILES,
    "users/*/joinedTeams",
    "users/*/memberOf/**",
    "users/*/planner/**",
    "users/*/transitiveMemberOf/**",
];
const MAIL: &[&str] = &[
    "users/*/getMailTips",
    "users/*/inferenceClassification/**",
    "users/*/mailFolders/**",
    "users/*/messages/**",
    "users/*/sendMail",
];
const TEAMS: &[&str] = &[
    "groups/*/team/**",
    "teams/**",
    "users/*/joinedTeams",
    "users/*/teamwork/associatedTeams",
];

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
            CLASSIFICATIONS,
            "applicationTemplates/**",
            DELETED,
            "groups/*/appRoleAssignments/**",
            "oauth2PermissionGrants/**",
            "users/*/appRoleAssignments/**",
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
    territory(
        "Device",
        &[
            "devices/**",
            DELETED,
            "users/*/ownedDevices/**",
            "users/*/registeredDevices/**",
        ],
    ),
    territory(
        "DeviceManagementApps",
        &[
            "deviceAppManagement/**",
            "deviceManagement/**",
            "users/*/managedAppRegistrations/**",
        ],
    ),
    territory(
        "DeviceManagementConfiguration",
        &[
            "deviceAppManagement/**",
            "deviceManagement/**",
            "reports/deviceConfigurationDeviceActivity/**",
            "reports/deviceConfigurationUserActivity/**",
            "reports/managedDeviceEnrollmentFailureDetails/**",
            "reports/managedDeviceEnrollmentTopFailures/**",
        ],
    ),
    territory(
        "DeviceManagementManagedDevices",
        &[
            "deviceAppManagement/**",
            "deviceManagement/**",
            "reports/deviceConfigurationDeviceActivity/**",
            "reports/deviceConfigurationUserActivity/**",
            "reports/managedDeviceEnrollmentFailureDetails/**",
            "reports/managedDeviceEnrollmentTopFailures/**",
            "users/*/deviceManagementTroubleshootingEvents/**",
            "users/*/managedDevices/**",
        ],
    ),
    territory(
        "Directory",
        &[
            "administrativeUnits/**",
            "applications/**",
            // Sign-ins want both permissions.
            "auditLogs/**",
            "contacts/**",
            "contracts/**",
            "devices/**",
            "directory/**",
            DELETED,
            "directory/subscriptions/**",
            "directoryObjects/**",
            "directoryRoleTemplates/**",
            "directoryRoles/**",
            "domains/**",
            "groupLifecyclePolicies/**",
            "groupSettings/**",
            "groups/**",
            MEMBERS,
            MEMBERS_OF_MEMBERS,
            OWNERS,
            "groups/*/appRoleAssignments/**",
            "groups/*/team/**",
            "invitations/**",
            "oauth2PermissionGrants/**",
            "organization/**",
            "policies/featureRolloutPolicies/**",
            "roleManagement/**",
            "servicePrincipals/**",
            CLASSIFICATIONS,
            "subscribedSkus/**",
            "teams/**",
            "users/**",
            "users/*/appRoleAssignments/**",
            "users/*/joinedTeams",
            "users/*/memberOf/**",
            "users/*/ownedDevices/**",
            "users/*/registeredDevices/**",
            "users/*/scopedRoleMemberOf/**",
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
        &[
            "users/*/mailboxSettings/**",
            "users/*/mailFolders/**",
            "users/*/outlook/**",
        ],
    ),
    territory(
        "Notes",
        &[
            "users/*/onenote/**",
            "groups/*/onenote/**",
            "sites/*/getByPath/**",
            "sites/*/onenote/**",
            "sites/*/sites/**",
        ],
    ),
    territory(
        "OnlineMeetings",
        &["users/*/onlineMeetings/**", "communications/**"],
    ),
    territory(
        "Organization",
        &[
            "organization/**",
            "directory/subscriptions/**",
            "subscribedSkus/**",
        ],
    ),
    territory(
        "Policy",
        &[
            "policies/**",
            "policies/featureRolloutPolicies/**",
            "identity/**",
            "auditLogs/**",
            CLASSIFICATIONS,
        ],
    ),
    territory("Reports", &["reports/**"]),
    territory(
        "RoleManagement",
        &[
            "administrativeUnits/**",
            "directory/**",
            "directoryRoleTemplates/**",
            "directoryRoles/**",
            "policies/roleManagementPolicies/**",
            "policies/roleManagementPolicyAssignments/**",
            "roleManagement/**",
            "users/*/memberOf/**",
            "users/*/scopedRoleMemberOf/**",
            "users/*/transitiveMemberOf/**",
        ],
    ),
    territory(
        "Sites",
        &[
            "sites/**",
            "drives/**",
            "groups/*/drive/**",
            "groups/*/drives/**",
            "groups/*/sites/**",
            "shares/**",
            "sites/*/analytics/**",
            "sites/*/drive/**",
            "sites/*/drives/**",
            "sites/*/getByPath/**",
            "sites/*/lists/**",
            "sites/*/sites/**",
            CHANNEL_FILES,
            "sites/*/onenote/**",
            "users/*/drive/**",
            "users/*/drives/**",
            "users/*/followedSites/**",
            "users/*/insights/**",
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
        &[
            "users/**",
            DELETED,
            MEMBERS,
            MEMBERS_OF_MEMBERS,
            OWNERS,
            "invitations/**",
            "users/*/appRoleAssignments/**",
            "users/*/joinedTeams",
            "users/*/memberOf/**",
            "users/*/outlook/**",
            "users/*/ownedDevices/**",
            "users/*/photo/**",
            "users/*/registeredDevices/**",
            "users/*/scopedRoleMemberOf/**",
            "users/*/transitiveMemberOf/**",
        ],
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
        let paths = TERRITORIES.iter().flat_map(|it| it.paths);
        for path in paths.chain(EVERYWHERE) {
            assert!(!path.starts_with('/') && !path.contains("**/"), "{path}");
        }
    }
}
