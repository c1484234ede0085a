package awsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/build"
)

// changesAttempt is more than the 55 s for which a broker holds the request.
const changesAttempt = 65 * time.Second

// AssociationChange is a new version of an association, or its end.
type AssociationChange struct {
	AssociationID string
	// Version is the generation; it only grows. 0 if the broker does not give
	// it.
	Version int64
	// Gone says that the association was deleted or paused, and grants nothing
	// any longer.
	Gone bool
}

// Changes waits until an association of pods on the node changes, for a minute
// at most, and returns what changed since the cursor and the next cursor. An
// empty cursor means now. Only a broker has this; errors are like those of
// AssumeRoleForPodIdentity (spec podidentity §19.6).
func (c *EKSAuth) Changes(ctx context.Context, node, cursor string) ([]AssociationChange, string, error) {
	query := url.Values{"node": {node}}
	if cursor != "" {
		query.Set("since", cursor)
	}
	request, err := http.NewRequestWithContext(
		ctx, http.MethodGet, c.endpoint+"/rolecall/v1/changes?"+query.Encode(), nil,
	)
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set(userAgent, build.UserAgent())
	if err := c.authenticate(ctx, request, nil); err != nil {
		return nil, "", err
	}
	_, text, err := c.roundTrip(request, changesOperation, changesAttempt)
	if err != nil {
		return nil, "", err
	}
	return readChanges(text)
}

func readChanges(text []byte) ([]AssociationChange, string, error) {
	var answer struct {
		Cursor json.RawMessage `json:"cursor"`
		Items  []struct {
			AssociationID string          `json:"associationId"`
			Version       json.RawMessage `json:"version"`
			Deleted       bool            `json:"deleted"`
			Paused        bool            `json:"paused"`
		} `json:"items"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, "", fmt.Errorf("%w: not changes in JSON", ErrUnusable)
	}
	cursor := plain(answer.Cursor)
	if cursor == "" || len(cursor) > 256 {
		return nil, "", fmt.Errorf("%w: changes without a cursor", ErrUnusable)
	}
	var changes []AssociationChange
	for _, item := range answer.Items {
		if item.AssociationID == "" {
			return nil, "", fmt.Errorf("%w: a change without an association", ErrUnusable)
		}
		changes = append(changes, AssociationChange{
			item.AssociationID,
			associationVersion(plain(item.Version)),
			item.Deleted || item.Paused,
		})
	}
	return changes, cursor, nil
}

// plain is the text of a string or a number; empty for anything else.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var number json.Number
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	if decoder.Decode(&number) == nil {
		return number.String()
	}
	return ""
}

// associationVersion is 0 for what is not a generation.
func associationVersion(text string) int64 {
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil || version < 0 {
		return 0
	}
	return version
}
