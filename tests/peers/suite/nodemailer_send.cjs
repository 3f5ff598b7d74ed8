// Sends the messages of a job (JSON on standard input) and prints what was reported for each.
'use strict';
const nodemailer = require('nodemailer');

async function main() {
    let text = '';
    for await (const part of process.stdin) text += part;
    const job = JSON.parse(text);
    const transport = nodemailer.createTransport(job.transport);
    const told = await Promise.all(job.messages.map(async message => {
        try {
            const info = await transport.sendMail({ ...message, raw: Buffer.from(message.raw, 'hex') });
            return { accepted: info.accepted, rejected: info.rejected, response: info.response };
        } catch (error) {
            return { error: error.message, code: error.responseCode, rejected: error.rejected };
        }
    }));
    transport.close();
    process.stdout.write(JSON.stringify(told));
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
