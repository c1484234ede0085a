package inject

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// annotationOf is one of the annotations that are read, and on what.
type annotationOf struct {
	name, plain  string
	account, pod bool
	// distinct names are meant wherever they stand: nobody else calls anything so.
	distinct bool
}

// annotations are all that are read, but for the role's, about which unreadRoles is.
var annotations = sync.OnceValue(func() []annotationOf {
	all := []annotationOf{
		{name: "audience", account: true},
		{name: "sts-regional-endpoints", account: true, distinct: true},
		{name: "token-expiration", account: true, pod: true},
		{name: "skip-containers", pod: true},
		{name: "region", account: true, pod: true},
		{name: "skip-region-injection", account: true, pod: true, distinct: true},
		{name: "role-session-name", account: true, pod: true, distinct: true},
	}
	for _, option := range sdkOptions {
		all = append(all, annotationOf{
			name: option.annotation, account: true, pod: true, distinct: strings.Contains(option.annotation, "endpoint"),
		})
	}
	for i := range all {
		all[i].plain = letters(all[i].name)
	}
	return all
})

// synonyms are what people call annotations, without what they mix up.
var synonyms = map[string]string{
	"aud": "audience", "regionalsts": "sts-regional-endpoints", "stsregional": "sts-regional-endpoints",
	"regionalendpoints": "sts-regional-endpoints", "regionalendpoint": "sts-regional-endpoints",
	"regionalstsendpoint": "sts-regional-endpoints", "regionalstsendpoints": "sts-regional-endpoints",
	"expiration": "token-expiration", "expirationseconds": "token-expiration", "tokenexpiry": "token-expiration",
	"tokenttl": "token-expiration", "tokenlifetime": "token-expiration", "skip": "skip-containers",
	"containerstoskip": "skip-containers", "ignorecontainers": "skip-containers", "awsregion": "region",
	"defaultregion": "region", "sessionname": "role-session-name", "dualstack": "use-dualstack-endpoint",
	"fips": "use-fips-endpoint", "stsendpoint": "sts-endpoint-url", "appid": "sdk-app-id",
}

// letters is a text without what people mix up: letters and digits, in lower case.
func letters(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return -1
	}, text)
}

// slips names annotations that are meant to be some of those that are read and are not, or
// stand on a pod where a service account has them, or the other way round.
func slips(have map[string]string, settings *Settings, ofPod bool) (warnings []string) {
	if settings.Conformance {
		return nil
	}
	here, there := "service account", "pod"
	if ofPod {
		here, there = there, here
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if LooksLikeRole(key, have[key]) {
			continue
		}
		if ofPod && key == SkipLabel {
			warnings = append(warnings, fmt.Sprintf("annotation %s is not read; it is a label", key))
			continue
		}
		meant := meantBy(key, settings.Prefix)
		if meant == nil {
			continue
		}
		right, read := settings.Prefix+"/"+meant.name, meant.account
		if ofPod {
			read = meant.pod
		}
		value, said := have[right]
		said = said && (value == have[key] || !strings.HasPrefix(key, settings.Prefix+"/"))
		switch {
		case key == right && read:
		case key == right:
			warnings = append(warnings, fmt.Sprintf("annotation %s of a %s is not read; it belongs on the %s", key, here, there))
		case said: // rightly, too, or to others
		case read:
			warnings = append(warnings, fmt.Sprintf("annotation %.253s is not read; what it seems to mean is %s", key, right))
		default:
			warnings = append(warnings, fmt.Sprintf(
				"annotation %.253s is not read; what it seems to mean is %s, which belongs on the %s", key, right, there))
		}
	}
	return warnings
}

// meantBy says which annotation another is, or was meant to be; nil if none.
func meantBy(key, prefix string) *annotationOf {
	slash := strings.LastIndexByte(key, '/')
	name := letters(key[slash+1:])
	if slash >= 0 {
		switch domain := key[:slash]; {
		case domain == prefix, near(letters(domain), letters(prefix), 3):
			return named(name, true)
		case isAmazons(domain):
			return named(name, false)
		}
	}
	for _, ours := range []string{letters(prefix), letters(Defaults().Prefix), "eksamazoncom", "eksaws"} {
		// The slash is something else, or is missing.
		if rest, found := strings.CutPrefix(letters(key), ours); found && rest != "" {
			return named(rest, true)
		}
	}
	for i := range annotations() {
		a := &annotations()[i]
		if a.distinct && near(name, a.plain, 1) ||
			slash < 0 && name == a.plain && (a.name == "audience" || strings.Contains(a.name, "-containers") ||
				strings.HasPrefix(a.name, "token-")) {
			return a
		}
	}
	return nil
}

// isAmazons reports whether a domain looks like one of AWS.
func isAmazons(domain string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(strings.ToLower(domain), func(r rune) bool { return r == '.' || r == '-' }),
		func(label string) bool { return slices.Contains([]string{"eks", "aws", "amazon", "amazonaws"}, label) })
}

// named finds the annotation that a name is nearest to. In our own domain its synonyms
// count, and what only has more words.
func named(name string, ours bool) (found *annotationOf) {
	all := annotations()
	if synonym := synonyms[name]; ours && synonym != "" {
		return &all[slices.IndexFunc(all, func(a annotationOf) bool { return a.name == synonym })]
	}
	for most := range 3 {
		for i := range all {
			if near(name, all[i].plain, most) {
				return &all[i]
			}
		}
	}
	for i := range all {
		if ours && len(all[i].plain) >= len("audience") && len(name) <= len(all[i].plain)+10 &&
			strings.Contains(name, all[i].plain) {
			return &all[i]
		}
	}
	return nil
}

// near reports whether a text is another but for so many letters that are wrong, missing,
// too much or exchanged with their neighbour: of a short one there is less to be wrong.
func near(text, right string, most int) bool {
	if most = min(most, len(right)/5); len(text) > len(right)+most || len(right) > len(text)+most {
		return false
	}
	return distance(text, right) <= most
}

func distance(a, b string) int {
	rows := [3][]int{}
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	before, last, now := rows[0], rows[1], rows[2]
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		now[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			now[j+1] = min(last[j]+change, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
