package inject

// Known is what the sources say of one service account.
type Known struct {
	// Account is what its annotations say; nil if there is no such account.
	Account *Account
	// Config is the ConfigMap's entry; nil if there is none. ConfigExact says
	// that its key has the namespace's own name.
	Config      *Account
	ConfigExact bool
	// PodIdentity says that an agent has credentials for it.
	PodIdentity bool
	// Jitter is a random number of seconds from 0 to MaxJitter.
	Jitter int64
}

// Missing reports whether no source knows the account.
func (k *Known) Missing() bool { return k.Account == nil && k.Config == nil }

// Choose says which identity counts (spec webhook §2.3, §4 and §8.2). Sources
// are never mixed, but for what Pod Identity takes from annotations.
func Choose(k Known, settings *Settings) Account {
	if k.PodIdentity {
		return k.podIdentity(settings)
	}
	switch {
	case k.Account != nil && k.Account.Role != "":
		return *k.Account
	case k.Config != nil && k.Config.Role != "":
		return *k.Config
	}
	return settings.none()
}

func (k *Known) podIdentity(settings *Settings) Account {
	base := settings.none()
	switch {
	case k.Account != nil:
		base = *k.Account
	case k.Config != nil && k.ConfigExact:
		base = *k.Config
	case settings.Conformance: // the flags count for nothing (spec webhook row Q19)
		base.RegionalSTS, base.Expiration = false, defaultExpiration
	}
	base.unread = nil // it has an identity
	base.Container, base.Jitter = true, k.Jitter
	base.Role, base.Malformed, base.Audience = "", false, settings.Container.Audience
	return base
}

// HasIdentity reports whether Choose would return one.
func (k *Known) HasIdentity() bool {
	return k.PodIdentity || k.Account != nil && k.Account.Role != "" || k.Config != nil && k.Config.Role != ""
}
