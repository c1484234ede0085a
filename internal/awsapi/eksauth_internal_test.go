package awsapi

import "testing"

// FuzzBrokerAnswers: whatever an upstream answers is read without harm, and what
// is taken of it is whole.
func FuzzBrokerAnswers(f *testing.F) {
	f.Add([]byte(`{"cursor":"17","items":[{"associationId":"a-1","version":3,"deleted":true}]}`))
	f.Add([]byte(`{"cursor":1e3,"items":[{"associationId":"a","version":-1}]}`))
	f.Add([]byte(`{"assumedRoleUser":{"arn":"a"},"credentials":{"accessKeyId":"a","secretAccessKey":"b",` +
		`"sessionToken":"c","expiration":1.5e9}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		changes, cursor, err := readChanges(text)
		if err == nil && cursor == "" {
			t.Error("no cursor")
		}
		for _, change := range changes {
			if change.AssociationID == "" || change.Version < 0 {
				t.Errorf("change %+v", change)
			}
		}
		session, err := readPodSession(text, "")
		if err == nil && (session.Credentials.AccessKeyID == "" || session.Credentials.SecretKey.IsZero() ||
			session.Credentials.SessionToken.IsZero() || session.Credentials.Expires.Unix() < 0) {
			t.Errorf("session %+v", session)
		}
	})
}
