package rotation

import (
	"fmt"
	"slices"
)

// dangers lists orders of steps that break tokens: what somebody did too early,
// or undid.
func dangers(s State, facts Facts) []string {
	if s.Phase == Stable {
		return nil
	}
	found := unpublished(s, facts)
	for _, server := range facts.Servers {
		if server.Err != nil {
			continue
		}
		found = append(found, s.serverDangers(server, facts)...)
	}
	return found
}

// unpublished are keys that tokens need but readers do not find.
func unpublished(s State, facts Facts) []string {
	var found []string
	if facts.PublishedErr != nil {
		return nil // the gates say so
	}
	for _, server := range facts.Servers {
		if server.Signs != "" && !slices.Contains(facts.Published, server.Signs) {
			found = append(found,
				fmt.Sprintf("API server %s signs with %s, which is not published: every new token fails at STS; "+
					"publish now", server.Name, server.Signs))
		}
	}
	needsOld := s.Phase != Retiring || !s.Emergency
	if needsOld && !slices.Contains(facts.Published, s.OldKID) {
		found = append(found, fmt.Sprintf("the old key %s is no longer published although its tokens are still valid: publish "+
			"now, and find out what has overwritten the keys", s.OldKID))
	}
	return found
}

func (s State) serverDangers(server Server, facts Facts) []string {
	var found []string
	say := func(format string, args ...any) {
		found = append(found, fmt.Sprintf("API server %s ", server.Name)+fmt.Sprintf(format, args...))
	}
	before := slices.Index(Phases(), s.Phase) < slices.Index(Phases(), Signing)
	switch {
	case before && server.Signs == s.NewKID:
		say("signs with the new key before its turn: go back to %s", s.OldKID)
	case s.Phase == Retiring && server.Signs == s.OldKID:
		say("signs with the old key again: give it the new one")
	case server.Signs != "" && server.Signs != s.OldKID && server.Signs != s.NewKID:
		say("signs with %s, which is neither key of this rotation", server.Signs)
	}
	if server.Signs != "" && !slices.Contains(server.Serves, server.Signs) {
		say("does not accept the tokens it signs: add the public key of %s to --service-account-key-file", server.Signs)
	}
	if s.Phase != Retiring && !s.Emergency && !slices.Contains(server.Serves, s.OldKID) {
		say("no longer accepts the old key %s although its tokens are still valid: put it back into --service-account-key-file",
			s.OldKID)
	}
	// A token signed by one API server must be accepted by the others.
	for _, other := range facts.Servers {
		if s.Phase == Signing && !s.Emergency && other.Signs == s.NewKID && !slices.Contains(server.Serves, s.NewKID) {
			say("does not accept the new key that %s signs with", other.Name)
			break
		}
	}
	return found
}

// task says what to do in a phase.
func (s State) task() string {
	switch s.Phase {
	case Stable:
		return "nothing; rotate when the key is old"
	case KeyCreated:
		return "copy the new key to every control-plane node; nothing uses it yet"
	case Published:
		if s.Emergency {
			return "both keys are published; go on as soon as both are read back"
		}
		return "both keys are published; wait until every cache has the new one"
	case Verifying:
		return "add the new public key to --service-account-key-file of every API server, one by one; the old key " +
			"goes on signing"
	case Signing:
		task := "set --service-account-signing-key-file of every API server, one by one, and " +
			"--service-account-private-key-file of the controller managers to the new key; keep the old public key"
		if s.Emergency {
			task = "on every API server, at once: add the new public key to --service-account-key-file and set " +
				"--service-account-signing-key-file to the new key; the same for the controller managers"
		}
		return task
	case Draining:
		return "wait until the last token of the old key has expired; re-create legacy token Secrets"
	case Retiring:
		task := "remove the old public key from --service-account-key-file of every API server, one by one; then " +
			"destroy the old private key"
		if s.Emergency {
			task += "; restart all pods, so that none presents a token of the leaked key; deny sessions older than now " +
				"on each role that trusts the issuer (aws:TokenIssueTime)"
		}
		return task
	}
	return ""
}
